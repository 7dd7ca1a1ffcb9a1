"""``undertow studies``: which claims there are."""

import json
from typing import Annotated

import typer


def studies(
    as_json: Annotated[bool, typer.Option("--json", help="Print a list of {id, title, source, claim}.")] = False,
) -> None:
    """List the claims that can be reproduced: id, title, source."""
    from undertow.studies import all_studies

    found = all_studies()
    if as_json:
        rows = [{"id": s.id, "title": s.title, "source": s.source, "claim": s.claim} for s in found]
        typer.echo(json.dumps({"studies": rows}, indent=2, ensure_ascii=False))
        return
    width = max((len(study.id) for study in found), default=0)
    for study in found:
        typer.echo(f"{study.id:{width}}  {study.title}")
        typer.echo(f"{'':{width}}  {study.source}")
