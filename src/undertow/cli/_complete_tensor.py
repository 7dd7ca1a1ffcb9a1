"""``undertow complete`` for a tensor: from entries in long form to all of them."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from undertow.datasets import Tensor
    from undertow.estimators import TensorErrors


class TensorTask(NamedTuple):
    """A tensor that was read, and the estimator for it."""

    data: "Tensor"
    model: Any
    clip: bool


def is_tensor(table: Path, kind: str) -> bool:
    """Whether it is one: it is said so, or it is an array of more than two axes."""
    if kind != "auto" or table.suffix.lower() != ".npy" or not table.is_file():
        return kind == "tensor"
    import tokenize

    import numpy as np

    try:
        return np.load(table, mmap_mode="r", allow_pickle=False).ndim > 2
    except (ValueError, TypeError, SyntaxError, EOFError, OverflowError, OSError, tokenize.TokenError):
        return False  # the reader of matrices says what is wrong


def tensor_task(
    table: Path,
    *,
    value: str | None,
    variables: str | None,
    clip: bool | None,
    seed: int,
    reading: dict[str, Any],
    foreign: dict[str, Any],
    options: dict[str, Any],
) -> TensorTask:
    """Read and check; ``foreign`` are options that a tensor does not have."""
    from undertow.datasets import read_tensor
    from undertow.estimators import TensorCompleter

    for name, given in foreign.items():
        if given is not None:
            raise ValueError(f"--{name}: a tensor has none; its columns are axes, and --value names the values")
    data = read_tensor(table, value=value, **reading)
    chosen = {name: given for name, given in options.items() if given is not None}
    if chosen.get("rank", 0) > len(data.values):
        raise ValueError(f"--rank: expected at most as many as entries, {len(data.values)}, found {chosen['rank']}")
    if variables is not None:
        chosen["variables"] = _axis(data, variables)
    model = TensorCompleter(**chosen, shape=data.shape, empty_slices="fill", random_state=seed)
    return TensorTask(data, model, bool(clip))


def _axis(data: "Tensor", variables: str) -> int:
    """The axis of a column, by name or by position from 1."""
    names = list(data.names[:-1])
    if variables in names:
        return names.index(variables)
    if variables.isdecimal() and 1 <= int(variables) <= len(names):
        return int(variables) - 1
    raise ValueError(
        f"--variables: expected one of {', '.join(names)}, or a position from 1 to {len(names)}, found {variables!r}"
    )


def write_tensor(target: Path, task: TensorTask, progress: Any) -> None:
    """Fit all entries, and write the whole tensor."""
    import numpy as np

    from undertow.datasets import write_completed_tensor

    data, model = task.data, task.model
    model.fit(data.indices, data.values, progress=progress)
    low, high = (data.values.min(), data.values.max()) if task.clip else (-np.inf, np.inf)
    write_completed_tensor(target, data, lambda places: np.clip(model.predict(places), low, high))


def table_of_tensor(errors: "TensorErrors") -> str:
    """The errors as lines on the screen."""
    form = ".4f" if 0.01 <= errors.mean < 1e5 else ".3e"
    return "\n".join(
        [
            f"error on {errors.test_size:,} held-out entries (root mean square; all fitted on {errors.train_size:,}):",
            f"  {'mean':<27}{errors.mean:{form}}",
            f"  {'effects of the axes':<27}{errors.effects:{form}}",
            f"  {'completed':<27}{errors.completer:{form}}",
        ]
    )
