"""The commands by name, and what is common to them: errors in one line, exit statuses."""

import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from undertow.cli._complete import complete
from undertow.cli._reproduce import reproduce
from undertow.cli._studies import studies

app = typer.Typer(
    name="undertow",
    help="The implicit regularization of gradient descent: published claims, run anew.",
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("studies")(studies)
app.command("reproduce")(reproduce)
app.command("complete")(complete)


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
