"""From studies to pages: runs them, keeps their records, and shows what came out."""

from undertow.gallery._chapters import by_chapter
from undertow.gallery._interrupt import Interrupted
from undertow.gallery._progress import Bars, Display, Lines, Notebook, display_on
from undertow.gallery._provenance import key_for
from undertow.gallery._record import Picture, Record
from undertow.gallery._refutation import Refutation
from undertow.gallery._reproduce import Report, reproduce
from undertow.gallery._run import run
from undertow.gallery._seeds import seeds_table

from .._public import public_names as _public_names

__all__ = [
    "Bars",
    "Display",
    "Interrupted",
    "Lines",
    "Notebook",
    "Picture",
    "Record",
    "Refutation",
    "Report",
    "by_chapter",
    "display_on",
    "key_for",
    "reproduce",
    "run",
    "seeds_table",
]

__dir__ = _public_names(__name__)
