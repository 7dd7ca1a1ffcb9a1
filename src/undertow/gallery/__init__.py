"""From studies to a page: runs them, keeps their records, and shows what came out."""

from undertow.gallery._interrupt import Interrupted
from undertow.gallery._progress import Bars, Display, Lines, display_on
from undertow.gallery._provenance import key_for
from undertow.gallery._reproduce import Report, reproduce
from undertow.gallery._run import Picture, Record, run

__all__ = [
    "Bars",
    "Display",
    "Interrupted",
    "Lines",
    "Picture",
    "Record",
    "Report",
    "display_on",
    "key_for",
    "reproduce",
    "run",
]
