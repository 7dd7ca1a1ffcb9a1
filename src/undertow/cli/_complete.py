"""``undertow complete``: a table of ratings, a matrix or a tensor with holes, from a file to a file."""

import contextlib
import json
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from undertow.cli._column_table import table_of_columns
from undertow.cli._complete_tensor import is_tensor, table_of_tensor, tensor_task, write_tensor
from undertow.cli._errors import usage_errors
from undertow.cli._options import in_options

if TYPE_CHECKING:
    from undertow.datasets import Dialect, Matrix, Ratings, Tensor
    from undertow.estimators import ColumnErrors, RatingErrors, TensorErrors
    from undertow.estimators._rating_model import RatingModel

MOST_ROWS = 10_000_000
"""A larger table is written on request only."""
DIGITS = 4
"""Decimals of predicted ratings; more where all ratings lie close together."""


def complete(
    table: Annotated[
        Path,
        typer.Argument(
            help="Ratings (CSV, TSV, Parquet: user, item, rating), a numeric matrix with holes (CSV with empty "
            "cells, .npy with NaN), or with --kind tensor a value behind any number of columns of indices."
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="File to write: .csv or .tsv (also .gz), .parquet, for a matrix .npy. By default TABLE-completed in "
            "the current folder, of the type of TABLE.",
        ),
    ] = None,
    kind: Annotated[str, typer.Option(help="What TABLE holds: auto, ratings, matrix or tensor.")] = "auto",
    user: Annotated[str | None, typer.Option(help="Column of the users: a name, or a position from 1.")] = None,
    item: Annotated[str | None, typer.Option(help="Column of the items, likewise.")] = None,
    rating: Annotated[str | None, typer.Option(help="Column of the ratings, likewise.")] = None,
    value: Annotated[
        str | None, typer.Option(help="Column of a tensor's values, likewise; those before it are its axes.")
    ] = None,
    variables: Annotated[
        str | None, typer.Option(help="Axis of a tensor whose slices are in different units, likewise.")
    ] = None,
    delimiter: Annotated[str | None, typer.Option(help="Between columns; detected where left out.")] = None,
    header: Annotated[
        bool | None, typer.Option("--header/--no-header", help="Whether the first line has names; detected.")
    ] = None,
    labels: Annotated[
        bool | None,
        typer.Option("--labels/--no-labels", help="Whether a matrix starts with a column of labels."),
    ] = None,
    encoding: Annotated[str, typer.Option(help="Of a text file, such as latin-1, cp1252 or utf-16.")] = "utf-8",
    comment: Annotated[str | None, typer.Option(help="Lines of a text file that begin so are passed over.")] = None,
    decimal: Annotated[str, typer.Option(help="What is before decimals in a text file: a point or a comma.")] = ".",
    missing: Annotated[
        list[str] | None,
        typer.Option(
            help="A value that stands for none, besides empty cells, NA and NaN: 99, -1, '?'; may be given several "
            "times. Holes of a matrix; of ratings and entries, rows that are left out."
        ),
    ] = None,
    skip_missing: Annotated[
        bool, typer.Option(help="Leave out rows of ratings whose rating is empty, NA or NaN.")
    ] = False,
    duplicates: Annotated[str, typer.Option(help="A pair that stands twice: error, mean or last.")] = "error",
    pairs: Annotated[
        Path | None,
        typer.Option(
            help="Answer only the pairs of this file: columns called as in TABLE, or else the user, then the item."
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Write the table even if it has more than ten million rows.")
    ] = False,
    test_fraction: Annotated[float, typer.Option(help="Share of the entries that are held out to measure.")] = 0.1,
    rank: Annotated[int | None, typer.Option(min=1, help="Factors, at most: 10 for ratings, 20 for others.")] = None,
    max_iter: Annotated[
        int | None,
        typer.Option(min=1, max=1_000_000, help="Most iterations: 15 for ratings, 500 for a matrix, 50 for a tensor."),
    ] = None,
    clip: Annotated[
        bool | None,
        typer.Option(
            "--clip/--no-clip",
            help="Keep predictions in the range of the entries: by default for ratings alone.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of the splits and the initialization.")] = 0,
    force: Annotated[bool, typer.Option(help="Replace the output file if it exists.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> int:
    """Complete a table: ratings by an average over factorizations, a matrix by factor analysis, a tensor by both.

    Part of the entries is held out; the errors on them are printed: for ratings beside those of the mean and of user
    and item biases, for a matrix by column, in the units of the column, beside those of its mean, for a tensor beside
    those of effects of its axes. Then all entries are fitted, and the completed table is written.
    """
    began = time.perf_counter()
    with _in_one_line():
        from undertow import datasets
        from undertow.estimators import column_errors, rating_errors, tensor_errors
        from undertow.estimators._completion import check_size
        from undertow.estimators._rating_model import fit_ratings

        _check_fraction(test_fraction)
        dialect = datasets.Dialect(encoding, comment, decimal, tuple(missing or ()), skip_missing)
        reading: dict[str, Any] = {
            "delimiter": delimiter,
            "header": header,
            "duplicates": duplicates,
            "dialect": dialect,
        }
        columns = {"user": user, "item": item, "rating": rating}
        options = {"rank": rank, "max_iter": max_iter}
        task = None
        if is_tensor(table, kind):
            foreign = {**columns, "pairs": pairs, "labels": labels}
            task = tensor_task(
                table,
                value=value,
                variables=variables,
                clip=clip,
                seed=seed,
                reading=reading,
                foreign=foreign,
                options=options,
            )
            data: Any = task.data
        elif value is not None or variables is not None:
            raise ValueError("--value, --variables: only a tensor has these; say --kind tensor")
        else:
            data = datasets.read_table(table, kind=kind, labels=labels, **columns, **reading)
        is_ratings = isinstance(data, datasets.Ratings)
        asked = None if pairs is None else _asked(pairs, data, dialect)
        target = _target(output, table, pairs, "ratings" if is_ratings else "tensor" if task else "matrix", force)
        model = task.model if task else _model(is_ratings, random_state=seed, clip=clip, **options)
        shape, i, j, values = _entries(data)
        rows = math.prod(shape)
        too_long = (is_ratings or task is not None) and asked is None and rows > MOST_ROWS and not everything
        refusal = f"the completed table would have {rows:,} rows; ask for it with --all" + (
            ", or for some pairs with --pairs FILE" if is_ratings else ""
        )
        if too_long and output is not None:
            raise ValueError(f"--output: {refusal}")
        _check_count(len(values), test_fraction)
        check_size(values)
    _say(as_json, f"read {data.source}")
    _say(
        as_json,
        f"{len(values):,} entries of {' x '.join(f'{n:,}' for n in shape)} ({len(values) / rows:.2%})",
    )
    if asked is not None and asked.unknown:
        _warn_of_unknown(asked)
    with _in_one_line(), _progress() as progress:
        held = {"test_fraction": test_fraction, "seed": seed, "progress": progress}
        if task:
            errors: Any = tensor_errors(model, task.data.indices, values, shape, **held)
        elif isinstance(data, datasets.Matrix):
            errors = column_errors(model, data.values, **held)
        else:
            errors = rating_errors(model, i, j, values, **held)
    _say(
        as_json,
        table_of_tensor(errors)
        if task
        else _table_of(errors)
        if is_ratings
        else table_of_columns(errors, data.column_labels),
    )
    if too_long:
        sys.stderr.write(f"undertow: not written: {refusal}\n")
        target = None
    else:
        with _in_one_line(), _progress() as progress:
            if task:
                write_tensor(target, task, progress)
            elif isinstance(data, datasets.Matrix):
                datasets.write_matrix(target, data, model.fit_transform(data.values, progress=progress))
            else:
                found = fit_ratings(i, j, values, data.shape, model.settings(), clip=model.clip, report=progress)
                _write(target, data, found, asked)
    seconds = time.perf_counter() - began
    if as_json:
        typer.echo(json.dumps({**_as_dict(errors), "output": target and str(target), "seconds": round(seconds, 2)}))
    elif target is not None:
        typer.echo(f"wrote {target} ({seconds:.1f} s in all)")
    return 0


@contextlib.contextmanager
def _in_one_line() -> Iterator[None]:
    """Whatever is wrong with the files, and Ctrl-C, without a traceback."""
    try:
        with usage_errors(ValueError, TypeError, OSError, worded=in_options):
            yield
    except KeyboardInterrupt:
        # On its own, typer would leave with the same status, but without a word.
        raise typer.Abort from None


def _check_fraction(value: float) -> None:
    if not 0 < value < 1:
        raise ValueError(f"--test-fraction: expected a share between 0 and 1, found {value}")


def _check_count(entries: int, test_fraction: float) -> None:
    held = max(1, round(test_fraction * entries))
    if entries - held < 2:
        raise ValueError(
            f"expected at least two entries beside those that are held out, found {entries} entries in all and "
            f"{held} of them held out (--test-fraction {test_fraction:g})"
        )


class _Asked(NamedTuple):
    """The pairs that are to be answered: their ids, and the positions of these in the table, -1 where unknown."""

    ids: tuple[Any, Any]
    users: Any
    items: Any

    @property
    def unknown(self) -> int:
        return int(((self.users < 0) | (self.items < 0)).sum())


def _asked(pairs: Path, data: "Ratings | Matrix", dialect: "Dialect") -> _Asked:
    import numpy as np

    from undertow.datasets import Ratings, read_pairs

    if not isinstance(data, Ratings):
        raise ValueError("--pairs: expected a table of ratings, found a matrix")
    ids = read_pairs(pairs, data, dialect=dialect)
    users, items = (
        np.array([codes.get(name, -1) for name in names.tolist()], int)
        for codes, names in zip((_codes(data.user_ids), _codes(data.item_ids)), ids, strict=True)
    )
    asked = _Asked(ids, users, items)
    if (np.maximum(users, items) < 0).all():
        raise ValueError(
            f"--pairs: expected users and items of the table, such as {data.user_ids[0]!r} and {data.item_ids[0]!r}, "
            f"found none in {pairs}, where they are such as {ids[0][0]!r} and {ids[1][0]!r}"
        )
    return asked


def _warn_of_unknown(asked: _Asked) -> None:
    count = len(asked.users)
    pairs = f"{asked.unknown:,} of {count:,} pairs have"
    sys.stderr.write(f"undertow: {pairs} a user or an item that is not in the table; it counts as an average one\n")


def _target(output: Path | None, table: Path, pairs: Path | None, kind: str, force: bool) -> Path:
    """The file to write, checked before any work."""
    from undertow.datasets import check_output

    if output is None:
        plain = table.with_suffix("") if table.suffix.lower() == ".gz" else table
        suffix = {".pq": ".parquet"}.get(plain.suffix.lower(), plain.suffix.lower())
        if suffix in (".csv", ".tsv", ".parquet") or (suffix == ".npy" and kind != "ratings"):
            output = Path(f"{plain.stem}-completed{suffix}")
        else:
            output = Path(f"{plain.name}-completed.csv")
    check_output(output, kind)
    if output.exists():
        if any(output.samefile(read) for read in (table, pairs) if read is not None):
            raise ValueError(f"--output: {output} is being read; give another name")
        if not force:
            raise ValueError(f"--output: {output} exists; give another name with --output, or --force to replace it")
    return output


def _model(is_ratings: bool, **options: Any) -> Any:
    from undertow.estimators import LowRankImputer, RatingPredictor

    options = {name: value for name, value in options.items() if value is not None}
    # An empty column stays where it is in the file.
    return RatingPredictor(**options) if is_ratings else LowRankImputer(**options, keep_empty_features=True)


def _entries(data: "Ratings | Matrix | Tensor") -> tuple[tuple[int, ...], Any, Any, Any]:
    """Shape, rows, columns and values of the entries; of a tensor the indices of the first two axes."""
    import numpy as np

    from undertow.datasets import Ratings, Tensor

    if isinstance(data, Tensor):
        return data.shape, data.indices[:, 0], data.indices[:, 1], data.values
    if isinstance(data, Ratings):
        return data.shape, data.users, data.items, data.ratings
    i, j = np.nonzero(~np.isnan(data.values))
    return data.values.shape, i, j, data.values[i, j]


def _write(target: Path, data: "Ratings", found: "RatingModel", asked: _Asked | None) -> None:
    import numpy as np

    from undertow import datasets

    digits = _digits(float(np.ptp(data.ratings)))
    if asked is None:
        datasets.write_completed_ratings(target, data, lambda users: np.round(found.block(users), digits))
        return
    users, items = asked.users, asked.items
    predictions = np.round(found.at(users, items), digits)
    # Where a pair is in the table, its rating stands.
    width = len(data.item_ids)
    given = np.where((users < 0) | (items < 0), -1, users.astype(np.int64) * width + items)
    known = data.users.astype(np.int64) * width + data.items
    order = np.argsort(known)
    place = order[np.minimum(np.searchsorted(known, given, sorter=order), len(known) - 1)]
    observed = known[place] == given
    predictions[observed] = data.ratings[place[observed]]
    datasets.write_pairs(target, *asked.ids, predictions, observed, names=data.names)


def _digits(spread: float) -> int:
    """Decimals that tell predictions apart."""
    return DIGITS if spread == 0 else min(300, max(DIGITS, DIGITS - math.floor(math.log10(spread))))


def _codes(ids: Any) -> dict[str, int]:
    return {name: code for code, name in enumerate(ids.tolist())}


def _progress() -> Any:
    from undertow.training._progress import reporter

    return reporter(True)


def _say(quiet: bool, text: str) -> None:
    if not quiet:
        typer.echo(text)


def _as_dict(errors: "RatingErrors | ColumnErrors | TensorErrors") -> dict[str, Any]:
    from dataclasses import asdict

    def plain(value: Any) -> Any:
        if hasattr(value, "tolist"):
            return [plain(item) for item in value.tolist()]
        return None if isinstance(value, float) and math.isnan(value) else value  # JSON has no NaN

    return {name: plain(value) for name, value in asdict(errors).items()}


def _table_of(errors: "RatingErrors") -> str:
    form = ".4f" if 0.01 <= errors.mean < 1e5 else ".3e"
    lines = [
        f"error on {errors.test_size:,} held-out entries (root mean square; all fitted on {errors.train_size:,}):",
        f"  {'mean':<27}{errors.mean:{form}}",
        f"  {'user + item biases':<27}{errors.biases:{form}}",
        f"  {'average of factorizations':<27}{errors.predictor:{form}}",
    ]
    if errors.unseen:
        lines.append(f"  of these, {errors.unseen:,} have a row or column that was not fitted")
    return "\n".join(lines)
