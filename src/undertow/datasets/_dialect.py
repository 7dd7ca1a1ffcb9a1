"""How a file is written where it is not as usual: encoding, comments, decimals, and what stands for nothing."""

import codecs
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from undertow.datasets._columns import DECIMAL_COMMA, NULLS, is_hole, is_number

if TYPE_CHECKING:
    from undertow.datasets._tables import TableColumns


@dataclass(frozen=True)
class Dialect:
    r"""What a file has that most do not.

    Parameters
    ----------
    encoding : str
        Of a text file, as Python calls it: ``"utf-8"``, ``"latin-1"``, ``"utf-16"``, ``"cp1252"``.
    comment : str or None
        Lines of a text file that begin with it are passed over.
    decimal : {".", ","}
        What separates the decimals of a number in a text file. Commas do not separate columns then.
    missing : tuple of str
        Values that stand for none, besides what does anyway (an empty cell, NA, NaN): ``("99", "-1", "?")``. A number
        is one however it is written: ``"99"`` means 99.0 too. They are holes of a matrix; rows of ratings, and of a
        tensor's entries, that have one as their rating are left out. Ids are never meant.
    skip_missing : bool
        Whether rows of ratings without a rating (an empty cell, NA, NaN) are left out too, rather than refused.

    Raises
    ------
    TypeError, ValueError
        If the encoding is unknown, the comment empty or of several lines, the decimal neither of the two, or missing
        no list of texts.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from undertow.datasets import read_table
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "notes.csv")
    ...     _ = path.write_text("# of 2026\nRené;a;4,5\nZoë;b;3\nZoë;a;99\n", encoding="latin-1")
    ...     table = read_table(path, dialect=Dialect(encoding="latin-1", comment="#", decimal=",", missing=("99",)))
    >>> table.user_ids.tolist(), table.ratings.tolist(), table.source.left_out
    (['René', 'Zoë'], [4.5, 3.0], 1)
    """

    encoding: str = "utf-8"
    comment: str | None = None
    decimal: str = "."
    missing: Any = ()
    skip_missing: bool = False

    def __post_init__(self) -> None:
        try:
            codecs.lookup(self.encoding)
        except (LookupError, TypeError, ValueError) as error:
            raise ValueError(
                f"encoding: expected one such as utf-8, latin-1, cp1252 or utf-16, found {self.encoding!r}"
            ) from error
        if self.comment is not None and (not self.comment or re.search(r"[\r\n]", self.comment)):
            raise ValueError(f"comment: expected one or more characters on a line, found {self.comment!r}")
        if self.decimal not in (".", ","):
            raise ValueError(f"decimal: expected '.' or ',', found {self.decimal!r}")
        if not isinstance(self.missing, (tuple, list)) or not all(isinstance(text, str) for text in self.missing):
            raise TypeError(f"missing: expected a tuple of texts, found {self.missing!r}")
        object.__setattr__(self, "missing", tuple(text.strip() for text in self.missing))

    def check_binary(self, path: object) -> None:
        """Raise if something is set that only text files have."""
        for name, usual in (("encoding", "utf-8"), ("comment", None), ("decimal", ".")):
            if getattr(self, name) != usual:
                raise ValueError(f"{name}: {path} is no text file, and has none; expected {usual!r}")

    def as_utf8(self, path: object, data: bytes) -> bytes:
        """The bytes of a text in UTF-8."""
        if codecs.lookup(self.encoding).name == "utf-8":
            return data
        try:
            return data.decode(self.encoding).encode()
        except UnicodeError as error:
            raise ValueError(f"{path}: expected text in {self.encoding}, found other bytes ({error})") from error

    def without_comments(self, data: bytes) -> bytes:
        """The text with nothing on the lines of comments: the numbers of the others stay."""
        if self.comment is None:
            return data
        return re.sub(rb"(?m)^" + re.escape(self.comment.encode()) + rb"[^\r\n]*", b"", data)

    def plain(self, cell: str) -> str:
        """A cell with its decimals behind a point; what is no number, or has a point already, is left as it is."""
        if self.decimal == ".":
            return cell
        if DECIMAL_COMMA.fullmatch(cell.strip()):
            return cell.replace(",", ".")
        # 1.234 may be a thousand: it is made no number, and refused.
        return f"{cell} (decimals are behind a comma)" if "." in cell and is_number(cell) else cell

    def is_missing(self, cell: str) -> bool:
        """Whether a cell is one of the values that stand for none."""
        cell = self.plain(cell).strip()
        return cell in self.missing or (is_number(cell) and float(cell) in self._numbers())

    def meant(self, cell: str) -> str:
        """A cell as it would usually be written."""
        return "NA" if self.missing and self.is_missing(cell) else self.plain(cell)

    def number(self, cell: str) -> float | None:
        """What a cell of a matrix says: NaN for a hole, None where it is neither."""
        cell = self.meant(cell)
        if is_hole(cell):
            return np.nan
        return float(cell) if is_number(cell) else None

    def holes_in(self, values: np.ndarray) -> np.ndarray:
        """Numbers, with NaN where they stand for none."""
        numbers = self._numbers()
        return np.where(np.isin(values, list(numbers)), np.nan, values) if numbers else values

    def _numbers(self) -> set[float]:
        return {float(text) for text in map(self.plain, self.missing) if is_number(text)}

    def kept(self, found: "TableColumns") -> "TableColumns":
        """The rows that have a rating; numbers among texts are written with a point."""
        column = found.columns[-1]
        kind = column.type
        if pa.types.is_dictionary(kind):
            column, kind = column.cast(kind.value_type), kind.value_type
        text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
        if text and (self != Dialect()):
            # Ratings repeat: only the distinct ones have to be looked at.
            encoded = column.cast(pa.string()).dictionary_encode().combine_chunks()
            cells = encoded.dictionary.to_pylist()
            absent = [self.is_missing(cell) or (self.skip_missing and cell.strip() in NULLS) for cell in cells]
            codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
            out = np.append(absent, self.skip_missing)[codes].astype(bool)
            plain = pa.array([self.plain(cell) for cell in cells], pa.string())
            column = pa.chunked_array([pa.DictionaryArray.from_arrays(encoded.indices, plain).cast(pa.string())])
        elif not text and (self.missing or self.skip_missing) and pa.types.is_primitive(kind):
            values = column.cast(pa.float64(), safe=False).to_numpy()
            out = np.isin(values, list(self._numbers())) | (np.isnan(values) if self.skip_missing else False)
        else:
            return found
        rows = np.flatnonzero(~out)
        if not len(rows):
            raise ValueError(f"{found.source.path}: expected ratings, found none: all {len(out):,} rows have none")
        where = found.where
        return replace(
            found,
            columns=[one.take(pa.array(rows)) for one in (*found.columns[:-1], column)],
            where=lambda row: where(int(rows[row])),
            source=replace(found.source, left_out=len(out) - len(rows)),
        )


USUAL = Dialect()
