"""Parameters of the rank-minimizing autoencoder, checked, and what follows from them and the data."""

from typing import Any

from .._validation import check_choice, check_integer, check_number
from ..networks._linear import INITIALIZATIONS
from ._linear_path import SIZES, convolutional
from ._validation import check_flag

WIDEST = 128
"""Of a code, as in the source for MNIST."""
ARCHITECTURES = ("dense", "convolutional")


def check_parameters(model: Any) -> None:
    """Raise TypeError or ValueError if one is out of its range."""
    for name, least in (("layers", 0), ("batch_size", 1), ("patience", 1)):
        check_integer(name, getattr(model, name), least)
    for name, automatic in (("code_size", "auto"), ("max_epochs", "auto"), ("n_components", None)):
        value = getattr(model, name)
        if value is None or isinstance(value, str):
            if value != automatic:
                raise ValueError(f"{name}: expected a positive integer or {automatic!r}, found {value!r}")
        else:
            check_integer(name, value, 1)
    check_choice("initialization", model.initialization, INITIALIZATIONS)
    check_choice("architecture", model.architecture, ARCHITECTURES)
    check_number("threshold", model.threshold, 0, maximum=1)
    check_number("learning_rate", model.learning_rate, 0, exclusive=True)
    check_number("validation_fraction", model.validation_fraction, 0, exclusive=True, maximum=0.5)
    check_flag("refit", model.refit)
    if not isinstance(model.hidden, (list, tuple)):
        raise TypeError(f"hidden: expected a sequence of sizes, found {model.hidden!r}")
    for size in model.hidden:
        check_integer("hidden", size, 1)


def sizes_of(model: Any, rows: int, columns: int) -> tuple[int, int | None]:
    """Numbers in a code, and components where they are given."""
    size = max(1, min(columns, rows - 1, WIDEST)) if model.code_size == "auto" else int(model.code_size)
    if size > columns:
        raise ValueError(f"code_size: expected at most {columns}, as many numbers as a row has, found {size}")
    if model.n_components is None:
        return size, None
    most = min(size, rows)
    if model.n_components > most:
        raise ValueError(
            f"n_components: expected at most {most}, by the code_size of {size} and {rows} rows, found "
            f"{model.n_components}"
        )
    return size, int(model.n_components)


def networks_of(model: Any, columns: int, shape: tuple[int, ...] | None, size: int) -> dict[str, Any]:
    """What the networks are made of, in plain values."""
    if model.architecture == "dense":
        return {"shape": (columns,), "code_size": size, "hidden": tuple(int(h) for h in model.hidden)}
    if shape is None or convolutional(shape) is None:
        found = "a table" if shape is None else f"images of {' x '.join(map(str, shape))}"
        raise ValueError(f"architecture: expected 'dense', or images of {SIZES}, found {found}")
    return {"shape": shape, "code_size": size, "hidden": None}
