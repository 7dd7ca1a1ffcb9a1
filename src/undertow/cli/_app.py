"""The commands by name, and what is common to them: errors in one line, exit statuses."""

import codecs
import io
import os
import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from undertow.cli._complete import complete
from undertow.cli._reproduce import reproduce
from undertow.cli._studies import studies
from undertow.cli._sweep import status, sweep

app = typer.Typer(
    name="undertow",
    help="The implicit regularization of gradient descent: published claims, run anew.",
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("studies")(studies)
app.command("reproduce")(reproduce)
app.command("complete")(complete)
app.command("sweep")(sweep)
app.command("status")(status)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command and leave with its exit status.

    0 when all went well, 1 when a check fails, 2 for wrong usage (one line on standard error says
    what is wrong), 130 when interrupted.

    Parameters
    ----------
    arguments : sequence of str, optional
        By default those of the process.

    Raises
    ------
    SystemExit
        Always.
    """
    _settle_environment()
    try:
        words = list(sys.argv[1:] if arguments is None else arguments)
        status = app(args=words or ["--help"], standalone_mode=False)
    except typer.TyperException as error:
        sys.stderr.write(f"undertow: {' '.join(error.format_message().split())}\n")
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        sys.stderr.write("undertow: interrupted\n")
        sys.exit(130)
    sys.exit(status if isinstance(status, int) else 0)


def _settle_environment() -> None:
    """Make the command the same wherever it is called from."""
    # Figures go to files only; a notebook hands its own backend, which may not be installed here, to every command.
    os.environ["MPLBACKEND"] = "agg"
    codecs.register_error("undertow-names", _as_named)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="undertow-names")


def _as_named(error: UnicodeError) -> tuple[bytes, int]:
    """The bytes of a file's name that is no text in this encoding, as they are; other characters by their number."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    bad = error.object[error.start : error.end]
    parts = [os.fsencode(c) if "\udc80" <= c <= "\udcff" else c.encode("ascii", "backslashreplace") for c in bad]
    return b"".join(parts), error.end


def _show_version(asked: bool) -> bool:
    if asked:
        from importlib.metadata import version

        typer.echo(f"undertow {version('undertow')}")
        raise typer.Exit
    return asked


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version and leave."),
    ] = False,
) -> None:
    pass
