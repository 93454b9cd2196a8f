"""The conformance kit: what a state, an engine and an estimator must satisfy, yours included.

Our own tests run every estimator through every check on every engine; a class of your own that subclasses an
outgrow base can be run through the same ones.

Examples
--------
>>> import outgrow as og
>>> from outgrow.testing import check_estimator
>>> check_estimator(og.Ridge(alpha=2.0))
"""

from outgrow.testing.engines import EngineCase, local_case, pieces_case
from outgrow.testing.estimators import CHECKS, ENGINE_CHECKS, check_estimator
from outgrow.testing.laws import check_state_laws
from outgrow.testing.rows import sample_rows
from outgrow.testing.together import run_together

__all__ = [
    "CHECKS",
    "ENGINE_CHECKS",
    "EngineCase",
    "check_estimator",
    "check_state_laws",
    "local_case",
    "pieces_case",
    "run_together",
    "sample_rows",
]
