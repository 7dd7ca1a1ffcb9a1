"""Published claims, a folder a chapter and a file a claim: what is claimed, the run that tests it, what came out.

A built-in study is one module, named as its id, that defines ``study``, and one line in its chapter's ``__init__.py``.
"""

from .._public import public_names as _public_names
from ._base import (
    BUDGETS,
    STANDINGS,
    AbstractCheck,
    AtLeast,
    AtMost,
    Between,
    Budget,
    Chapter,
    Close,
    Expectation,
    Outcome,
    Standing,
    Study,
    Verdict,
)
from ._registry import all_studies, chapters, find

__all__ = [
    "BUDGETS",
    "STANDINGS",
    "AbstractCheck",
    "AtLeast",
    "AtMost",
    "Between",
    "Budget",
    "Chapter",
    "Close",
    "Expectation",
    "Outcome",
    "Standing",
    "Study",
    "Verdict",
    "all_studies",
    "chapters",
    "find",
]

__dir__ = _public_names(__name__)
