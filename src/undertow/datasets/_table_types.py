"""What a table holds once it is read: ratings in long form, or a matrix with holes."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Integer, Shaped

from undertow._repr import shown
from undertow._validation import has_masked

NAMES = ("user", "item", "rating")


@dataclass(frozen=True)
class Source:
    """Where a table came from and how it was read; ``str`` of it is one line to print.

    Parameters
    ----------
    path : str
        The file.
    kind : str
        ``"ratings"``, ``"matrix"`` or ``"pairs"``.
    format : str
        ``"text"``, ``"parquet"`` or ``"npy"``.
    columns : tuple of str
        The columns that were used, in the order user, item, rating; empty for a matrix.
    delimiter : str or None
        What separates the columns of a text file; ``" "`` means runs of spaces and tabs.
    header : bool
        Whether the first line of a text file names the columns.
    dtype : str
        The numbers' type in the file, for those formats that have one.
    left_out : int
        How many rows without a rating were left out.
    """

    path: str
    kind: str
    format: str
    columns: tuple[str, ...] = ()
    delimiter: str | None = None
    header: bool = False
    dtype: str = "float64"
    left_out: int = 0

    def __str__(self) -> str:
        parts = [f"{self.path}: {self.kind}"]
        if self.format == "text":
            parts += [f"delimiter {self.delimiter!r}", "header" if self.header else "no header"]
        else:
            parts += [self.format]
        if self.columns:
            parts += [" / ".join(self.columns)]
        if self.left_out:
            parts += [f"{self.left_out:,} rows without a rating left out"]
        return ", ".join(parts)


@dataclass(frozen=True, eq=False)
class Ratings:
    """Ratings in long form: who rated what, and how; ids are text, exactly as they stand in the file.

    Parameters
    ----------
    users, items : integer arrays, shape (ratings,)
        For each rating the position of its user in `user_ids` and of its item in `item_ids`.
    ratings : float64 array, shape (ratings,)
        Finite numbers, in the file's own units.
    user_ids, item_ids : object arrays of str, shapes (users,) and (items,)
        The distinct ids, in order of first appearance.
    names : tuple of three str
        What the columns user, item and rating are called when the table is written.
    source : Source or None
        How the table was read; None for one that was not read from a file.

    Raises
    ------
    ValueError
        If the lengths differ, a position is out of range, or a rating is not finite or masked.

    Examples
    --------
    >>> import numpy as np
    >>> ids = np.array(["a", "b"], dtype=object)
    >>> Ratings(np.array([0, 1]), np.array([1, 0]), np.array([4.0, 2.5]), ids, ids).shape
    (2, 2)
    """

    users: Integer[np.ndarray, " ratings"]
    items: Integer[np.ndarray, " ratings"]
    ratings: Float64[np.ndarray, " ratings"]
    user_ids: Shaped[np.ndarray, " users"]
    item_ids: Shaped[np.ndarray, " items"]
    names: tuple[str, str, str] = NAMES
    source: Source | None = None

    def __repr__(self) -> str:
        return shown(self)

    def __post_init__(self) -> None:
        if not len(self.users) == len(self.items) == len(self.ratings):
            raise ValueError(
                "users, items and ratings: expected equal lengths, "
                f"found {len(self.users)}, {len(self.items)} and {len(self.ratings)}"
            )
        for name, codes, size in (
            ("users", self.users, len(self.user_ids)),
            ("items", self.items, len(self.item_ids)),
        ):
            if codes.size and (codes.min() < 0 or codes.max() >= size):
                raise ValueError(
                    f"{name}: expected positions from 0 to {size - 1}, found {codes.min()} to {codes.max()}"
                )
        if has_masked(self.ratings):
            raise ValueError("ratings: expected finite numbers, found masked ones")
        if not np.isfinite(self.ratings).all():
            raise ValueError("ratings: expected finite numbers, found NaN or infinity")

    @property
    def shape(self) -> tuple[int, int]:
        """The numbers of users and of items."""
        return len(self.user_ids), len(self.item_ids)

    def __len__(self) -> int:
        return len(self.ratings)


@dataclass(frozen=True, eq=False)
class Matrix:
    """A numeric matrix with holes.

    Parameters
    ----------
    values : float64 array, shape (rows, columns)
        The entries; NaN marks a hole.
    row_labels, column_labels : object arrays of str, or None
        The labels that stood in the first column and in the first line.
    corner : str
        What stood where those two meet: the name of the row labels.
    source : Source or None
        How the matrix was read; None for one that was not read from a file.

    Raises
    ------
    ValueError
        If entries are masked: only NaN marks a hole.
    """

    values: Float64[np.ndarray, "rows columns"]
    row_labels: Shaped[np.ndarray, " rows"] | None = None
    column_labels: Shaped[np.ndarray, " columns"] | None = None
    corner: str = ""
    source: Source | None = None

    def __repr__(self) -> str:
        return shown(self)

    def __post_init__(self) -> None:
        if has_masked(self.values):
            raise ValueError("values: expected NaN in the holes, found masked entries; see numpy.ma.filled")

    @property
    def shape(self) -> tuple[int, int]:
        """The numbers of rows and of columns."""
        rows, columns = self.values.shape
        return rows, columns
