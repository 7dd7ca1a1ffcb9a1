"""``undertow complete``: a table of ratings, or a matrix with holes, from a file to a file."""

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from undertow.cli._errors import usage_errors

if TYPE_CHECKING:
    from undertow.datasets import Matrix, Ratings
    from undertow.estimators import Completion, HeldOutErrors

MOST_ROWS = 10_000_000
"""A larger table is written on request only."""
DIGITS = 4
"""Decimals of predicted ratings."""


def complete(
    table: Annotated[
        Path,
        typer.Argument(
            help="Ratings (CSV, TSV, Parquet: user, item, rating) or a numeric matrix with holes (CSV with empty "
            "cells, .npy with NaN)."
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File to write; by default TABLE-completed beside you."),
    ] = None,
    kind: Annotated[str, typer.Option(help="What TABLE holds: auto, ratings or matrix.")] = "auto",
    user: Annotated[
        str | None, typer.Option(help="Column of the users: a name, or a position from 1.")
    ] = None,
    item: Annotated[str | None, typer.Option(help="Column of the items.")] = None,
    rating: Annotated[str | None, typer.Option(help="Column of the ratings.")] = None,
    delimiter: Annotated[str | None, typer.Option(help="Between columns; detected where left out.")] = None,
    header: Annotated[
        bool | None, typer.Option("--header/--no-header", help="Whether the first line has names; detected.")
    ] = None,
    labels: Annotated[
        bool | None,
        typer.Option("--labels/--no-labels", help="Whether a matrix starts with a column of labels."),
    ] = None,
    duplicates: Annotated[str, typer.Option(help="A pair that stands twice: error, mean or last.")] = "error",
    pairs: Annotated[
        Path | None, typer.Option(help="Answer only the (user, item) pairs of this file.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Write the table even if it has more than ten million rows.")
    ] = False,
    test_fraction: Annotated[
        float, typer.Option(help="Share of the entries that are held out to measure.")
    ] = 0.1,
    depth: Annotated[int, typer.Option(help="Factors of the product.")] = 2,
    width: Annotated[int, typer.Option(help="Inner dimension of the factors, at most.")] = 200,
    max_iter: Annotated[int, typer.Option(help="Most steps of descent.")] = 2000,
    clip: Annotated[
        bool | None,
        typer.Option("--clip/--no-clip", help="Keep predictions in the range seen; so for ratings."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the splits and the initialization.")] = 0,
    force: Annotated[bool, typer.Option(help="Replace the output file if it exists.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> int:
    """Complete a table by early-stopped gradient descent, without a penalty.

    Part of the entries is held out; the errors on them are printed beside those of the mean and of the baseline of user
    and item (row and column) effects. Then all entries are fitted, and the completed table is written.
    """
    began = time.perf_counter()
    with usage_errors(ValueError, TypeError, OSError):
        from undertow import datasets

        from undertow.estimators import complete as complete_entries
        from undertow.estimators import held_out_errors

        _check_fraction(test_fraction)
        data = datasets.read_table(
            table,
            kind=kind,
            user=user,
            item=item,
            rating=rating,
            delimiter=delimiter,
            header=header,
            labels=labels,
            duplicates=duplicates,
        )
        is_ratings = isinstance(data, datasets.Ratings)
        if pairs is not None and not is_ratings:
            raise ValueError("--pairs: expected a table of ratings, found a matrix")
        asked = datasets.read_pairs(pairs, data, user=user, item=item) if pairs is not None else None
        target = _target(table, output, "pairs" if pairs else ("ratings" if is_ratings else "matrix"), force)
        model = _model(is_ratings, depth=depth, width=width, max_iter=max_iter, random_state=seed)
        if clip is not None:
            model.set_params(clip=clip)
        settings = model.settings()
    shape, i, j, values = _entries(data)
    _say(as_json, f"read {data.source}")
    _say(
        as_json,
        f"{len(values):,} entries of {shape[0]:,} x {shape[1]:,} ({len(values) / (shape[0] * shape[1]):.2%})",
    )
    options: dict[str, Any] = {"clip": model.clip}
    with usage_errors(ValueError), _progress() as progress:
        errors = held_out_errors(
            i,
            j,
            values,
            shape,
            settings,
            test_fraction=test_fraction,
            seed=seed,
            progress=progress,
            **options,
        )
    _say(as_json, _table_of(errors, is_ratings))
    rows = shape[0] * shape[1]
    if is_ratings and asked is None and rows > MOST_ROWS and not everything:
        ask = "ask for it with --all, or for some pairs with --pairs FILE"
        sys.stderr.write(f"undertow: not written: the table would have {rows:,} rows; {ask}\n")
        target = None
    else:
        with usage_errors(ValueError), _progress() as progress:
            # The stopping point is known: it was chosen without the entries that were held out.
            options |= {"stopping_point": errors.stopping_point, "progress": progress}
            _write(target, data, complete_entries(i, j, values, shape, settings, **options), asked)
    seconds = time.perf_counter() - began
    if as_json:
        typer.echo(
            json.dumps({**_as_dict(errors), "output": target and str(target), "seconds": round(seconds, 2)})
        )
    elif target is not None:
        typer.echo(f"wrote {target} ({seconds:.1f} s in all)")
    return 0


def _check_fraction(value: float) -> None:
    if not 0 < value < 1:
        raise ValueError(f"--test-fraction: expected a share between 0 and 1, found {value}")


def _target(table: Path, output: Path | None, kind: str, force: bool) -> Path:
    """The file to write, checked before any work."""
    from undertow.datasets import check_output

    if output is None:
        plain = table.with_suffix("") if table.suffix == ".gz" else table
        known = (".csv", ".tsv", ".parquet", *((".npy",) if kind == "matrix" else ()))
        suffix = plain.suffix if plain.suffix in known else ".csv"
        output = Path(f"{plain.stem if plain.suffix in known else plain.name}-completed{suffix}")
    check_output(output, "matrix" if kind == "matrix" else "ratings")
    if output.exists() and (not force or output.samefile(table)):
        raise ValueError(
            f"--output: {output} exists; give another name with --output, or --force to replace it"
        )
    return output


def _model(is_ratings: bool, **options: Any) -> Any:
    from undertow.estimators import LowRankImputer, RatingPredictor

    return RatingPredictor(**options) if is_ratings else LowRankImputer(**options)


def _entries(data: "Ratings | Matrix") -> tuple[tuple[int, int], Any, Any, Any]:
    import numpy as np

    from undertow.datasets import Ratings

    if isinstance(data, Ratings):
        return data.shape, data.users, data.items, data.ratings
    i, j = np.nonzero(~np.isnan(data.values))
    return data.values.shape, i, j, data.values[i, j]


def _write(target: Path, data: "Ratings | Matrix", found: "Completion", asked: Any) -> None:
    import numpy as np

    from undertow import datasets

    if isinstance(data, datasets.Matrix):
        holes = np.nonzero(np.isnan(data.values))
        completed = data.values.copy()
        completed[holes] = found.at(*holes)
        datasets.write_matrix(target, data, completed)
        return
    if asked is None:
        datasets.write_completed_ratings(target, data, lambda users: np.round(found.block(users), DIGITS))
        return
    users, items = (
        np.array([codes.get(name, -1) for name in names.tolist()], int)
        for codes, names in zip((_codes(data.user_ids), _codes(data.item_ids)), asked, strict=True)
    )
    predictions = np.round(found.at(users, items), DIGITS)
    # Where a pair is in the table, its rating stands.
    width = len(data.item_ids)
    given = np.where((users < 0) | (items < 0), -1, users.astype(np.int64) * width + items)
    known = data.users.astype(np.int64) * width + data.items
    order = np.argsort(known)
    place = order[np.minimum(np.searchsorted(known, given, sorter=order), len(known) - 1)]
    observed = known[place] == given
    predictions[observed] = data.ratings[place[observed]]
    datasets.write_pairs(target, *asked, predictions, observed, names=data.names)


def _codes(ids: Any) -> dict[str, int]:
    return {name: code for code, name in enumerate(ids.tolist())}


def _progress() -> Any:
    from undertow.training._progress import reporter

    return reporter(True)


def _say(quiet: bool, text: str) -> None:
    if not quiet:
        typer.echo(text)


def _as_dict(errors: "HeldOutErrors") -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(errors)


def _table_of(errors: "HeldOutErrors", is_ratings: bool) -> str:
    effects = "user + item biases" if is_ratings else "row + column effects"
    lines = [
        f"error on {errors.test_size:,} held-out entries (root mean square; all fitted on the same {errors.train_size:,}):",
        f"  {'mean':<24}{errors.mean:.4f}",
        f"  {effects:<24}{errors.effects:.4f}",
        f"  {'early-stopped descent':<24}{errors.completion:.4f}   ({errors.n_iter} steps)",
    ]
    if errors.unseen:
        lines.append(f"  of these, {errors.unseen:,} have a row or column that was not fitted")
    return "\n".join(lines)
