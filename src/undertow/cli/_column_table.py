"""Errors of a completed matrix, column by column, as a table on the screen."""

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from undertow.estimators import ColumnErrors

SHOWN = 20
"""Columns that are told apart on the screen; all of them are in the JSON."""


def table_of_columns(errors: "ColumnErrors", labels: Any) -> str:
    """The error of each column beside that of its mean, those with the largest share of it first."""
    lines = [
        f"error on {errors.test_size:,} held-out entries (root mean square; all fitted on {errors.train_size:,}),",
        f"in column deviations: column means {errors.mean_overall:.4f}, completed {errors.overall:.4f}",
    ]
    measured = [j for j in range(len(errors.columns)) if errors.counts[j]]
    measured.sort(key=lambda j: _share(errors, j), reverse=True)
    names = {j: f"{j + 1}" if labels is None else str(labels[j]) for j in measured}
    width = max((len(names[j]) for j in measured[:SHOWN]), default=0)
    width = min(max(width, len("column")), 40)
    lines.append(f"  {'column':<{width}}  {'entries':>8}  {'of its mean':>12}  {'completed':>12}  {'ratio':>6}")
    for j in measured[:SHOWN]:
        name = names[j] if len(names[j]) <= width else names[j][: width - 1] + "\u2026"
        numbers = f"{errors.counts[j]:>8,}  {errors.means[j]:>12.4g}  {errors.columns[j]:>12.4g}"
        lines.append(f"  {name:<{width}}  {numbers}  {_share(errors, j):>6.2f}")
    if len(measured) > SHOWN:
        lines.append(f"  and {len(measured) - SHOWN:,} more columns, with smaller ratios")
    return "\n".join(lines)


def _share(errors: "ColumnErrors", j: int) -> float:
    mean, found = float(errors.means[j]), float(errors.columns[j])
    return found / mean if mean > 0 else (0.0 if found == 0 else math.inf)
