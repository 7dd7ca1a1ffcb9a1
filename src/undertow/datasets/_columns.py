"""What the columns of a table mean.

Which are user, item and rating, whether the first line names them, and whether the table is ratings or
a matrix.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from undertow._validation import nearest

# Most specific first: a file with both "userId" and "name" means the former.
KNOWN_NAMES: dict[str, tuple[str, ...]] = {
    "user": (
        *("user", "userid", "user_id", "user id", "uid", "u", "user_idx", "username", "user_name", "users"),
        *("customer", "customerid", "customer_id", "reviewerid", "reviewer_id", "reviewer", "rater"),
    ),
    "item": (
        *("item", "itemid", "item_id", "item id", "iid", "i", "item_idx", "items", "movie", "movieid"),
        *("movie_id", "movie id", "film", "filmid", "film_id", "product", "productid", "product_id", "asin"),
        *("book", "bookid", "book_id", "isbn", "song", "songid", "song_id", "track_id", "artist", "artistid"),
        *("business_id", "joke", "jokeid", "joke_id", "title"),
    ),
    "rating": ("rating", "ratings", "score", "value", "stars", "overall", "r", "rate", "book-rating"),
}
# Columns that are none of the three, passed over when the rest are taken in order.
_OTHER_NAMES = (
    "",
    "index",
    "unnamed: 0",
    "__index_level_0__",
    "row",
    "time",
    "timestamp",
    "ts",
    "date",
    "datetime",
)
_LABEL_NAMES = (*KNOWN_NAMES["user"], "", "index", "id", "row", "name", "label")

NULLS = ["", "NA", "na", "N/A", "n/a", "null", "NULL", "nan", "NaN", "NAN"]
"""What stands for a hole in a matrix."""
NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*")
DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")
_MARKS = ("?", "-", "--", ".", "*", "none", "<na>", "#n/a", "missing", "unknown")
"""What some write for a hole; not read as one unless it is said so, but no label either."""
_DIGITS = re.compile(r"\s*\d+\s*")


def is_number(cell: str) -> bool:
    """Whether the cell is a finite decimal number."""
    return NUMBER.fullmatch(cell) is not None


def is_hole(cell: str) -> bool:
    """Whether the cell is a hole, were this a matrix."""
    return cell.strip() in NULLS


def recognize(names: Sequence[str], known: dict[str, tuple[str, ...]] = KNOWN_NAMES) -> dict[str, int]:
    """The position of each role whose usual names are among ``names``."""
    folded = [name.strip().lower() for name in names]
    found = {}
    for role, aliases in known.items():
        position = next((folded.index(alias) for alias in aliases if alias in folded), None)
        if position is not None:
            found[role] = position
    return found


def _as_position(option: str | int) -> int | None:
    if isinstance(option, int):
        return option
    return int(option) if re.fullmatch(r"[0-9]{1,9}", option) else None


def _find(names: Sequence[str], option: str | int) -> list[int]:
    """Where the column called ``option`` is: exactly so, else regardless of case and outer spaces."""
    if not isinstance(option, str):
        return []
    exact = [k for k, name in enumerate(names) if name == option]
    return exact or [k for k, name in enumerate(names) if name.strip().lower() == option.strip().lower()]


def choose_columns(
    path: str,
    names: Sequence[str] | None,
    width: int,
    options: dict[str, str | int | None],
    known: dict[str, tuple[str, ...]] = KNOWN_NAMES,
) -> dict[str, int]:
    """Say which column plays which role.

    A role given in ``options``, by name or by position from 1, comes first; then the usual names; then
    the remaining columns in order, index and time columns passed over. ``names`` is None where the
    table has no header.
    """
    chosen: dict[str, int] = {}
    for role, option in options.items():
        if option is None:
            continue
        matches = _find(names or (), option)
        position = _as_position(option)
        if len(matches) > 1:
            raise ValueError(
                f"{role}: {path} has {len(matches)} columns called {option!r}; give the position, one of "
                + ", ".join(str(k + 1) for k in matches)
            )
        if matches:
            chosen[role] = matches[0]
        elif position is not None and 1 <= position <= width:
            chosen[role] = position - 1
        elif position is not None:
            raise ValueError(
                f"{role}: expected a column from 1 to {width}, found {option!r} ({path} has {width} columns)"
            )
        elif names is None:
            raise ValueError(
                f"{role}: no column {option!r}, since {path} has no header; give the position, 1 to {width}"
            )
        else:
            raise ValueError(
                f"{role}: no column {option!r} in {path}{nearest(option, names)}; its columns are {', '.join(names)}"
            )
        for other, taken in chosen.items():
            if other != role and taken == chosen[role]:
                raise ValueError(f"{role}: {path}: column {taken + 1} is already the {other}")
    for role, position in recognize(names or (), {r: known[r] for r in options}).items():
        if position not in chosen.values():
            chosen.setdefault(role, position)
    folded = [name.strip().lower() for name in names or [f"column {k + 1}" for k in range(width)]]
    free = [k for k, name in enumerate(folded) if k not in chosen.values() and name not in _OTHER_NAMES]
    for role in options:
        if role not in chosen:
            if not free:
                raise ValueError(
                    f"{path}: expected columns for {', '.join(options)}, found {width}"
                    + (f" ({', '.join(names)})" if names else "")
                    + f"; no column is left for the {role}"
                )
            chosen[role] = free.pop(0)
    return {role: chosen[role] for role in options}


def has_ratings_header(head: list[list[str]], options: dict[str, str | int | None]) -> bool:
    """Whether the first of the leading records names the columns of a ratings table.

    It does if it holds a name that was asked for, or if it holds no number and either usual names for
    two roles, or a text where most of the following records have their rating.
    """
    first = head[0]
    if any(_as_position(option) is None and _find(first, option) for option in options.values() if option):
        return True
    if any(is_number(cell) for cell in first):
        return False
    found = recognize(first)
    if len(found) >= 2 or len(head) == 1:
        return True
    option = options.get("rating")
    position = _as_position(option) if option is not None else None
    column = found.get("rating", 2) if position is None else position - 1
    ratings = [record[column] for record in head[1:] if len(record) > column]
    return 0 <= column < len(first) and first[column].strip() != "" and _mostly(ratings)


def _mostly(cells: list[str]) -> bool:
    return bool(cells) and 2 * sum(map(is_number, cells)) > len(cells)


@dataclass(frozen=True)
class MatrixLayout:
    """What surrounds the numbers of a matrix, and whether the rest of the leading records is numeric."""

    header: bool
    labels: bool
    numeric: bool


def matrix_layout(head: list[list[str]], header: bool | None = None, labels: bool | None = None) -> MatrixLayout:
    """Find the line of column labels and the column of row labels, where not given."""
    first, rest = head[0], head[1:]
    top, side = first[1:], [record[0] for record in rest]
    corner = first[0].strip().lower()
    text_side = are_names(side)
    if header is None:
        named = any(map(_is_text, top)) and not any(map(is_number, top))
        # What pandas and pivot tables write: numbers as labels, and a corner that is empty or a name.
        pivot = (_is_text(corner) and not text_side) or (corner != "" and corner in _LABEL_NAMES)
        counted = corner == "" and _are_labels(top) and _are_labels(side)
        header = named or pivot or counted
    if labels is None:
        named_corner = corner in _LABEL_NAMES or (_is_text(corner) and all(map(is_number, top)))
        labels = (text_side or (_distinct(side) and named_corner)) if header else are_names([first[0], *side])
    body = rest if header else head
    numeric = not any(_is_text(cell) for record in body for cell in record[labels:])
    return MatrixLayout(header, labels, numeric and len(body) > 0)


def _is_text(cell: str) -> bool:
    return not is_number(cell) and not is_hole(cell) and not is_mark(cell)


def is_mark(cell: str) -> bool:
    """Whether some write the cell for a hole."""
    return cell.strip().lower() in _MARKS


def are_names(cells: list[str]) -> bool:
    """Whether these are labels rather than numbers with a few words among them, or with one for every hole."""
    names = [cell for cell in cells if _is_text(cell)]
    return 2 * len(names) > len(cells) and (len(set(names)) > 1 or len(cells) == 1)


def _distinct(cells: list[str]) -> bool:
    return len(set(cells)) == len(cells) and not any(map(is_hole, cells))


def _are_labels(cells: list[str]) -> bool:
    """Whether these can only be labels: distinct, and text or an unbroken count from 0 or 1."""
    if not cells or not _distinct(cells):
        return False
    if not all(map(is_number, cells)):
        return True
    return all(cell == str(k) for k, cell in enumerate(cells, int(float(cells[0]) == 1)))


def decide_kind(path: str, head: list[list[str]], width: int, header: bool | None, labels: bool | None) -> str:
    """Whether the leading records are of ``"ratings"`` or of a ``"matrix"``; raise where that is unclear."""
    first = head[0]
    if header is not False and len(recognize(first)) >= 2 and not any(map(is_number, first)):
        return "ratings"
    layout = matrix_layout(head, header, labels)
    body = head[layout.header :]
    odd = [cell for record in body for cell in record[layout.labels :] if _is_text(cell)]
    few = 0 < 5 * len(odd) <= sum(len(record) for record in body)
    doubt = ValueError(
        f"{path}: cannot tell ratings from a matrix by its {width} columns: "
        'say kind="ratings" (three columns: user, item, rating; name them with user=, item=, rating=) '
        'or kind="matrix" (numbers with holes)'
        + ('; decimals are written with a point, or say decimal=","' if any(map(DECIMAL_COMMA.fullmatch, odd)) else "")
        + (f"; {odd[0]!r} is neither a number nor a hole (an empty cell, NA or NaN)" if few else "")
    )
    if labels is not None and layout.numeric:
        return "matrix"
    if width > 4 or width < 3:
        holes = any(is_hole(cell) or is_mark(cell) for record in body for cell in record[layout.labels :])
        if layout.numeric and (width > 4 or holes):
            return "matrix"
        raise doubt
    # "NA" among the ids is an id; among the numbers, or as nothing at all, it is a hole.
    holes = any(
        (is_hole(cell) and (k >= 2 or cell.strip().lower() in ("", "nan")))
        or (layout.numeric and k >= 2 and is_mark(cell))
        for record in body
        for k, cell in enumerate(record)
        if k >= layout.labels
    )
    framed = layout.header and layout.labels and first[0].strip() == ""
    seconds = [cell for record in body for cell in record[1:2]]
    ids = any(_is_text(cell) and not DECIMAL_COMMA.fullmatch(cell.strip()) for cell in seconds)
    if (not holes or ids) and not framed:
        return "ratings"
    pairs_like = all(_DIGITS.fullmatch(cell) for record in body for cell in record[:2])
    if layout.numeric and holes and (framed or not pairs_like):
        return "matrix"
    raise doubt
