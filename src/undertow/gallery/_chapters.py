"""Studies by chapter, in the order in which they are shown."""

from collections.abc import Sequence

from undertow.studies import Chapter, Study, chapters


def by_chapter(studies: Sequence[Study]) -> tuple[tuple[Chapter, tuple[Study, ...]], ...]:
    """The chapters that have one of these studies, each with its studies in the order given.

    A chapter that nobody registered is titled by its id, and comes after those of `undertow.studies.chapters`.

    Parameters
    ----------
    studies : sequence of Study

    Returns
    -------
    tuple of (Chapter, tuple of Study)

    Examples
    --------
    >>> from undertow.studies import find
    >>> found = by_chapter(find(["norms-larger", "minimum-norm"]))
    >>> [(chapter.id, [study.id for study in members]) for chapter, members in found]
    [('lecture', ['minimum-norm']), ('norms', ['norms-larger'])]
    """
    known = {chapter.id: chapter for chapter in chapters()}
    for study in studies:
        known.setdefault(study.chapter, Chapter(study.chapter, study.chapter, ""))
    grouped = [(chapter, tuple(s for s in studies if s.chapter == chapter.id)) for chapter in known.values()]
    return tuple((chapter, members) for chapter, members in grouped if members)
