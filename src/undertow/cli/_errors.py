"""Wrong usage, in one line."""

import contextlib
from collections.abc import Callable, Iterator

import typer


@contextlib.contextmanager
def usage_errors(*kinds: type[Exception], worded: Callable[[str], str] = str) -> Iterator[None]:
    """Turn these exceptions into an error of usage: one line on standard error, exit status 2.

    ``worded`` puts their message into the command's own words.
    """
    try:
        yield
    except kinds as error:
        raise typer.BadParameter(worded(str(error))) from error
