"""What rows are expected to be: learned, checked as rows are read, rows that fail set aside.

Examples
--------
>>> import pyarrow as pa, outgrow as og
>>> og.expectations.learn(pa.table({"late": [True, False]})).check(pa.table({"late": [True]})).ok
True
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "Checking": "outgrow.expectations.expectations",
    "CheckResult": "outgrow.expectations.report",
    "ExpectationReport": "outgrow.expectations.report",
    "Expectations": "outgrow.expectations.expectations",
    "learn": "outgrow.expectations.learning",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'outgrow.expectations' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
