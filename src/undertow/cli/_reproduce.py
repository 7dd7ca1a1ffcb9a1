"""``undertow reproduce``: run claims anew and write the pages."""

import enum
import json
from pathlib import Path
from typing import Annotated

import typer

from undertow.cli._errors import usage_errors


class BudgetName(enum.StrEnum):
    """How much is computed; the same names as `undertow.studies.BUDGETS`, without importing it."""

    SMOKE = "smoke"
    QUICK = "quick"
    FULL = "full"


def reproduce(
    ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ID]...", help="The claims to run, as `undertow studies` lists them; default all."),
    ] = None,
    budget: Annotated[
        BudgetName,
        typer.Option(help="smoke: seconds, to see that it works; quick: minutes; full: the sources' own scale."),
    ] = BudgetName.QUICK,
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder to write to.")] = Path("gallery-out"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the content of summary.json.")] = False,
    jobs: Annotated[int, typer.Option(metavar="N", help="How many claims run at a time.")] = 1,
    seed: Annotated[
        int, typer.Option(metavar="N", help="The base seed, from 0 to 4294967295, of which all random draws are made.")
    ] = 0,
    fresh: Annotated[bool, typer.Option("--fresh", help="Run again what finished earlier.")] = False,
) -> None:
    """Run claims anew; write DIR/index.html and a page for each, with figures and verdicts.

    Goes on from where an earlier call in the same folder was interrupted; at the full budget inside of a
    claim, with the runs that were done. Exit status: 0 when every
    check that ran holds, 1 when one fails or a published sentence that was amended is not refuted,
    2 for wrong usage, 130 when interrupted.
    """
    with usage_errors(ValueError):
        from undertow import gallery
        from undertow.studies import find

        wanted = find(ids or [])
        if not wanted:
            raise ValueError("no study is installed")
    # NotADirectoryError, PermissionError and the like: about DIR, which the user chose.
    with usage_errors(ValueError, OSError):
        report = gallery.reproduce(wanted, out, budget.value, jobs=jobs, fresh=fresh, seed=seed)
    if as_json:
        typer.echo(json.dumps(report.summary(), indent=2, ensure_ascii=False, allow_nan=False))
        typer.echo(f"wrote {report.page}", err=True)
    else:
        typer.echo(f"wrote {report.page}")
    raise typer.Exit(report.exit_status)
