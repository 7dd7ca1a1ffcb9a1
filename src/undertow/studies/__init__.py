"""Published claims, one file per source: what is claimed, the run that tests it, what came out.

A built-in study is one module ``_name.py`` that defines a `Study`, and one line here that imports it.
"""

from undertow.studies._base import (
    BUDGETS,
    AbstractCheck,
    AtLeast,
    AtMost,
    Between,
    Budget,
    Close,
    Expectation,
    Outcome,
    Study,
    Verdict,
)
from undertow.studies._flow_versus_descent import flow_versus_descent
from undertow.studies._image_completion import image_completion
from undertow.studies._movielens import movielens
from undertow.studies._registry import all_studies, find

__all__ = [
    "BUDGETS",
    "AbstractCheck",
    "AtLeast",
    "AtMost",
    "Between",
    "Budget",
    "Close",
    "Expectation",
    "Outcome",
    "Study",
    "Verdict",
    "all_studies",
    "find",
    "flow_versus_descent",
    "image_completion",
    "movielens",
]
