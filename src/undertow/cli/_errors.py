"""Wrong usage, in one line."""

import contextlib
from collections.abc import Iterator

import typer


@contextlib.contextmanager
def usage_errors(*kinds: type[Exception]) -> Iterator[None]:
    """Turn these exceptions into an error of usage: one line on standard error, exit status 2."""
    try:
        yield
    except kinds as error:
        raise typer.BadParameter(str(error)) from error
