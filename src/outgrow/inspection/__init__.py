"""What a fitted model makes of its columns: the public functions, loaded when first used.

They ask the model for answers and know nothing of what is inside, so they serve any model, and a pipeline as
a whole: the columns are those that the user gave, before all steps.

Examples
--------
>>> import numpy as np, outgrow as og
>>> X = np.random.default_rng(0).normal(size=(200, 2))
>>> model = og.LinearRegression().fit(X, 3 * X[:, 0])
>>> og.inspection.permutation_importance(model, X, 3 * X[:, 0]).to_arrow()["column"].to_pylist()
['x0', 'x1']
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "model_report": "outgrow.inspection.report",
    "partial_dependence": "outgrow.inspection.dependence",
    "permutation_importance": "outgrow.inspection.permutation",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module 'outgrow.inspection' has no attribute {name!r}") from None
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return __all__
