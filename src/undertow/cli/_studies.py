"""``undertow studies``: which claims there are."""

import json
from typing import Annotated

import typer


def studies(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print {tally, chapters, studies}: who claims what, and what it stands for.")
    ] = False,
) -> None:
    """List the claims that can be reproduced, by chapter: id, title, what it stands for, source."""
    from undertow.gallery import by_chapter
    from undertow.studies import all_studies
    from undertow.studies._base import STANDINGS

    found = all_studies()
    chapters = by_chapter(found)
    tally = {standing: sum(study.standing == standing for study in found) for standing in STANDINGS}
    if as_json:
        fields = ("id", "title", "source", "claim", "chapter", "standing")
        rows = [{n: getattr(s, n) for n in fields} | {"published": s.published or None} for s in found]
        heads = [{"id": c.id, "title": c.title, "sentence": c.sentence} for c, _ in chapters]
        typer.echo(json.dumps({"tally": tally, "chapters": heads, "studies": rows}, indent=2, ensure_ascii=False))
        return
    width = max((len(study.id) for study in found), default=0)
    for chapter, members in chapters:
        typer.echo(f"{chapter.title}: {chapter.sentence}" if chapter.sentence else chapter.title)
        for study in members:
            typer.echo(f"  {study.id:{width}}  {study.title} ({study.standing})")
            typer.echo(f"  {'':{width}}  {study.source}")
        typer.echo()
    counted = ", ".join(f"{number} {standing}" for standing, number in tally.items())
    typer.echo(f"{len(found)} {'claim' if len(found) == 1 else 'claims'}: {counted}")
