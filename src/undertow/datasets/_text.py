"""Delimited text: bytes in, columns out, and the line number of whatever is wrong.

Arrow's reader does the work. What it lacks is here: finding the delimiter, delimiters of more than
one character, and errors that name a line.
"""

import csv
import gzip
import io
import itertools
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import csv as arrow_csv

from undertow.datasets._columns import DECIMAL_COMMA, is_hole, is_number
from undertow.datasets._dialect import USUAL, Dialect
from undertow.datasets._quotes import has_bare_quotes, has_open_quotes

DELIMITERS = (",", "\t", ";", "|", "::", " ")
_ALIASES = {"\\t": "\t", "tab": "\t", "space": " ", "comma": ",", "semicolon": ";", "pipe": "|"}
_HEAD_LINES = 200
_PIECE = 1 << 24
MOST_BYTES = 2 << 30
"""A longer text is refused: its columns would take several times as much memory."""
# Characters made for the purpose, which no table holds: they stand in for the delimiters that are
# longer than the single byte that Arrow can take.
_STAND_INS = "\x1f\x1e\x1d\x1c"
_FOREIGN = {
    b"\x1f\x8b": "gzip data; name the file .gz",
    b"PK\x03\x04": "a zip archive or a spreadsheet; save the sheet as CSV",
    b"PAR1": "Parquet; name the file .parquet",
    b"\x93NUMPY": "a NumPy array; name the file .npy",
    b"\xff\xfe": "UTF-16; save it as UTF-8, or name its encoding",
    b"\xfe\xff": "UTF-16; save it as UTF-8, or name its encoding",
}


def check_file(path: Path) -> None:
    """Raise if there is no file at ``path``."""
    if path.is_dir():
        raise IsADirectoryError(f"{path}: expected a file, found a directory")
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")


def read_bytes(path: Path, dialect: Dialect = USUAL) -> bytes:
    """The file's content, unpacked if it ends in ``.gz``, in UTF-8, without byte order mark and comments.

    Pipes and devices are read too, so an end is not taken for granted: what is no text is refused at the first piece,
    and nothing is read beyond a limit.
    """
    packed = path.suffix.lower() == ".gz"
    if not packed:
        _check_length(path, path.stat().st_size)
    pieces, total = [], 0
    try:
        with path.open("rb") as raw, gzip.GzipFile(fileobj=raw) if packed else raw as stream:
            while piece := stream.read(_PIECE):
                if not pieces and len(piece) == _PIECE and dialect.encoding == USUAL.encoding:
                    # Up to a line's end, where no character can be cut in two.
                    check_text(path, piece[: piece.rfind(b"\n") + 1] or piece[: piece.find(b"\0") + 1] or b"-")
                total += len(piece)
                _check_length(path, total)
                pieces.append(piece)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path}: expected gzip data, found it broken or cut off ({error})") from error
    data = dialect.as_utf8(path, b"".join(pieces))
    return check_text(path, dialect.without_comments(check_text(path, data)))


def _check_length(path: Path, length: int) -> None:
    if length > MOST_BYTES:
        raise ValueError(
            f"{path}: expected at most {MOST_BYTES:,} bytes of text, found more; Parquet takes a fraction of the room"
        )


def check_text(path: Path | str, data: bytes) -> bytes:
    """Return ``data`` without its byte order mark; raise unless it is UTF-8 text with something in it."""
    for magic, meaning in _FOREIGN.items():
        if data.startswith(magic):
            raise ValueError(f"{path}: expected text, found {meaning}")
    if not data.isascii():
        _check_utf8(path, data)
    null = data.find(b"\0")
    if null >= 0:
        raise ValueError(f"{path}: expected text, found binary data (a zero byte at position {null})")
    data = data.removeprefix(b"\xef\xbb\xbf")
    if not data.strip():
        raise ValueError(f"{path}: expected a table, found an empty file")
    return data


def _check_utf8(path: Path | str, data: bytes, block: int = 1 << 24) -> None:
    # In blocks, because the text of a large file is a second copy of it; a block ends at a line's
    # end, where no character can be cut in two.
    start = 0
    while start < len(data):
        end = data.find(b"\n", start + block) + 1 or len(data)
        try:
            data[start:end].decode("utf-8")
        except UnicodeDecodeError as error:
            position = start + error.start
            line = data.count(b"\n", 0, position) + 1
            raise ValueError(
                f"{path}: expected UTF-8 text, found byte 0x{data[position]:02x} at position {position} "
                f"(line {line}); save the file as UTF-8, or name its encoding"
            ) from error
        start = end


@dataclass(frozen=True)
class Text:
    """A delimited text file whose delimiter is known.

    ``data`` is what Arrow reads, with ``separator`` between the columns; ``head`` holds the leading
    records, ``complete`` whether these are all, ``width`` the number of columns, ``skipped`` the
    number of empty lines cut off at the beginning, ``quoted`` whether double quotes enclose cells, and
    ``dialect`` how its cells are written.
    """

    path: str
    delimiter: str
    data: bytes
    separator: str
    head: list[list[str]]
    complete: bool
    width: int
    skipped: int = 0
    quoted: bool = True
    dialect: Dialect = USUAL

    @property
    def meant(self) -> list[list[str]]:
        """The leading records as they would usually be written, to find out what they are."""
        return [[self.dialect.meant(cell) for cell in record] for record in self.head]

    def records(self) -> Iterator[tuple[int, list[str]]]:
        """All records with their line numbers, slowly: to say where a fault is."""
        stream = io.TextIOWrapper(io.BytesIO(self.data), encoding="utf-8", newline="")
        try:
            for line, record in _records(stream, self.separator, self.quoted):
                yield line + self.skipped, record
        except csv.Error as error:
            raise ValueError(f"{self.path}: broken quoting ({error})") from error

    def line(self, row: int, header: bool) -> int:
        """The line number of a row, counted from 0 after the header."""
        return next(itertools.islice(self.records(), row + header, None))[0]

    def read(self, positions: list[int], types: list[pa.DataType], *, header: bool, nulls: list[str]) -> pa.Table:
        """Read the columns at ``positions``; raises pyarrow.ArrowInvalid where a cell is not of its type."""
        names = [str(position) for position in range(self.width)]
        wanted = [names[position] for position in positions]
        convert = arrow_csv.ConvertOptions(
            include_columns=wanted,
            column_types=dict(zip(wanted, types, strict=True)),
            null_values=nulls,
            strings_can_be_null=False,  # "NA" and "null" are ordinary ids
            decimal_point=self.dialect.decimal,
        )
        parse = arrow_csv.ParseOptions(
            delimiter=self.separator,
            quote_char='"' if self.quoted else False,
            newlines_in_values=self.quoted and b'"' in self.data,
        )
        longest = max(sum(map(len, record)) + len(record) for record in self.head)
        # A line has to fit into a block; Arrow's own default is one MiB.
        block = min(max(1 << 20, 16 * longest), 2**31 - 1)
        while True:
            options = arrow_csv.ReadOptions(column_names=names, skip_rows_after_names=int(header), block_size=block)
            try:
                return arrow_csv.read_csv(pa.BufferReader(self.data), options, parse, convert)
            except pa.ArrowInvalid as error:
                if "straddling" not in str(error) or block > len(self.data):
                    self.check_widths()
                    raise
                block = min(16 * block, 2**31 - 1)

    def check_widths(self) -> None:
        """Raise if a record does not have ``width`` columns, naming the first such line."""
        count = 0
        for line, record in self.records():
            count = line
            if len(record) != self.width:
                block = len(record) == 1 and re.fullmatch(r"\s*[^\s:]+:\s*", record[0])
                hint = "; of a list by blocks, write the id above a block into a column of its lines" if block else ""
                raise ValueError(
                    f"{self.path}, line {line}: expected {self.width} columns separated by "
                    f"{self.delimiter!r}, found {len(record)} ({_shorten(self.delimiter.join(record))})" + hint
                )
        if count == 0:
            raise ValueError(f"{self.path}: expected a table, found an empty file")


def sniff(path: str, data: bytes, delimiter: str | None, least: int, dialect: Dialect = USUAL) -> Text:
    """Find the delimiter (or check the given one) and split the leading lines.

    A delimiter fits if it cuts every leading line into the same number of columns, ``least`` or more.
    Runs of spaces are tried last, since text within columns has spaces too.
    """
    stripped = data.lstrip(b"\r\n") if data[:1] in (b"\r", b"\n") else data
    skipped = len(data[: len(data) - len(stripped)].splitlines())
    head, complete = _head(stripped)
    known = [one for one in DELIMITERS if one != dialect.decimal]
    splits = {one: _split(head, one, complete, not has_bare_quotes(head, one)) for one in known}
    if delimiter is None:
        chosen = _choose(splits, least)
        if chosen == ",":
            _check_decimals(path, splits)
        if splits[chosen][1] < 2:
            raise ValueError(
                f"{path}: expected columns separated by one of {', '.join(map(repr, known))}, "
                f"found one column on the first line: {_shorten(splits[chosen][0][0][0])}"
            )
    else:
        chosen = _ALIASES.get(delimiter, delimiter)
        if chosen in ("", '"') or re.search(r"[\r\n]", chosen):
            raise ValueError(f"delimiter: expected one or more characters on a line, found {delimiter!r}")
        if chosen == dialect.decimal:
            raise ValueError(f"delimiter: expected another character than before decimals, found {delimiter!r}")
        splits[chosen] = _split(head, chosen, complete, not has_bare_quotes(head, chosen))
        if splits[chosen][1] < 2:
            more = ", ".join(f"{d!r} ({width})" for d, (_, width, _) in splits.items() if width > 1)
            raise ValueError(
                f"{path}: delimiter {chosen!r} gives one column only" + (f"; these give more: {more}" if more else "")
            )
    converted, separator = _replace_delimiter(stripped, chosen)
    quoted = separator == chosen and not has_bare_quotes(stripped, chosen)
    records, width, _ = _split(head, chosen, complete, quoted)
    text = Text(path, chosen, converted, separator, records, complete, width, skipped, quoted, dialect)
    if quoted and has_open_quotes(stripped, chosen):
        _check_spans(text)
    return text


def _check_decimals(path: str, splits: dict[str, tuple[list[list[str]], int, float]]) -> None:
    """Raise if the commas that were taken for delimiters stand in the numbers between other delimiters."""
    for delimiter, (records, width, share) in splits.items():
        if delimiter == "," or width < 2 or share < 1:
            continue
        for column in zip(*records[len(records) > 1 :], strict=True):
            cells = [cell.strip() for cell in column if not is_hole(cell)]
            decimals = [cell for cell in cells if DECIMAL_COMMA.fullmatch(cell)]
            if decimals and all(is_number(cell) or cell in decimals for cell in cells):
                raise ValueError(
                    f"{path}: found {decimals[0]!r} between {delimiter!r}; decimals are written with a point, or say "
                    'decimal="," (if commas do separate the columns, say so with delimiter)'
                )


def _check_spans(text: Text) -> None:
    """Raise where quotes swallow whole lines: they are open by mistake, and rows would be lost without a word."""
    lines = text.data.splitlines()  # of bytes: at line ends only
    before = 0
    for line, record in text.records():
        start = line - text.skipped - 1
        whole = [x.count(text.separator.encode()) == text.width - 1 for x in lines[start : start + 2]]
        spans = any("\n" in cell or "\r" in cell for cell in record)
        if spans and len(whole) == 2 and all(whole) and start >= before:
            raise ValueError(
                f"{text.path}, line {line}: expected a quoted cell, found a quote that is not closed on its line "
                f"({_shorten(lines[start].decode())})"
            )
        before = start


def _choose(splits: dict[str, tuple[list[list[str]], int, float]], least: int) -> str:
    spaces = {" "}
    others = set(splits) - spaces
    # A file with a cut-off line should fail at that line, not be taken for one that has spaces
    # between its columns: so an almost regular split comes before these.
    tiers: list[tuple[set[str], float, int]] = [
        (others, 1.0, least),
        (others, 0.5, least),
        (spaces, 0.5, least),
        (others, 1.0, 2),
        (others | spaces, 0.0, 2),
    ]
    for candidates, share, width in tiers:
        fitting = [d for d in splits if d in candidates and splits[d][2] >= share and splits[d][1] >= width]
        if fitting:
            return max(fitting, key=lambda d: (splits[d][2], splits[d][1]))
    return next(iter(splits))


def _head(data: bytes) -> tuple[bytes, bool]:
    end = -1
    for _ in range(_HEAD_LINES):
        end = data.find(b"\n", end + 1)
        if end < 0:
            return data, True
    return data[: end + 1], end + 1 == len(data)


def _split(head: bytes, delimiter: str, complete: bool, quoted: bool) -> tuple[list[list[str]], int, float]:
    """The records, their most frequent width, and the share of them that has it."""
    converted, separator = _replace_delimiter(head, delimiter)
    stream = io.StringIO(converted.decode("utf-8"), newline="")
    try:
        records = [record for _, record in _records(stream, separator, quoted and separator == delimiter)]
    except csv.Error:  # a cell of more than 100,000 characters: not this delimiter
        records = []
    if not complete:
        records = records[:-1]  # the last may have been cut within quotes
    if not records:
        return [[""]], 1, 0.0
    widths = Counter(map(len, records))
    width = max(widths, key=lambda w: (widths[w], w))
    return records, width, widths[width] / len(records)


def _replace_delimiter(data: bytes, delimiter: str) -> tuple[bytes, str]:
    """Put a single character in place of a delimiter that is longer."""
    encoded = delimiter.encode()
    if len(encoded) == 1 and delimiter != " ":
        return data, delimiter
    separator = next((c for c in _STAND_INS if c.encode() not in data), None)
    if separator is None:
        return data, delimiter[0]  # a file full of control characters: one column of nonsense, said so later
    if delimiter == " ":
        data = re.sub(rb"(?m)^[ \t]+|[ \t]+(?=\r?$)", b"", data)
        return re.sub(rb"[ \t]+", separator.encode(), data), separator
    return data.replace(encoded, separator.encode()), separator


def _records(stream: Any, separator: str, quoted: bool) -> Iterator[tuple[int, list[str]]]:
    quoting = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    reader = csv.reader(stream, delimiter=separator, quoting=quoting)
    line = 1
    for record in reader:
        if record:
            yield line, record
        line = reader.line_num + 1


def _shorten(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
