"""Double quotes in delimited text: whether they enclose cells, or are characters like any other."""

import re


def has_open_quotes(data: bytes, delimiter: str) -> bool:
    """Whether a cell starts with a quote but does not end with one on its line."""
    if b'"' not in data or len(delimiter.encode()) != 1:
        return False
    between = re.escape(delimiter.encode())
    start = rb"(?m)(?:^|(?<=" + between + rb'))"'
    closed = start + rb'[^"\r\n]*(?:""[^"\r\n]*)*"(?=' + between + rb"|[\r\n]|\Z)"
    # A quote within a closed cell may follow a delimiter too, so the closed ones are taken out before the count.
    return re.search(start, re.sub(closed, b"", data)) is not None


def has_bare_quotes(data: bytes, delimiter: str) -> bool:
    """Whether tab-separated text, which is rarely quoted, has quotes that enclose nothing.

    So it is where a cell that starts with one does not end with one, and without a regard to quotes all lines have the
    same number of cells.
    """
    if delimiter != "\t" or not has_open_quotes(data, delimiter):
        return False
    return len({line.count(b"\t") for line in data.splitlines() if line.strip(b"\r\n")}) == 1
