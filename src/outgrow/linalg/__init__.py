"""Linear algebra of matrices whose rows, or entries, are a dataset: the public functions.

A tall matrix is a dataset with a column for each of its columns. What has as many rows as it (`Q`, `U`,
products) is again a dataset, computed when it is read; what does not (`R`, singular values, products of
columns) is an array.

Examples
--------
>>> import numpy as np, outgrow as og
>>> A = np.array([[3.0, 0.0], [4.0, 5.0]])
>>> og.linalg.qr(A).R.round(6).tolist()
[[5.0, 4.0], [0.0, 3.0]]
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "CoordinateMatrix": "outgrow.linalg.entries",
    "RowMatrix": "outgrow.linalg.rows",
    "column_similarities": "outgrow.linalg.similarities",
    "cond": "outgrow.linalg.sizes",
    "coordinate_matrix": "outgrow.linalg.entries",
    "gram": "outgrow.linalg.products",
    "lstsq": "outgrow.linalg.equations",
    "matrix_rank": "outgrow.linalg.sizes",
    "norm": "outgrow.linalg.sizes",
    "qr": "outgrow.linalg.factors",
    "row_matrix": "outgrow.linalg.rows",
    "solve": "outgrow.linalg.equations",
    "svd": "outgrow.linalg.factors",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module 'outgrow.linalg' has no attribute {name!r}") from None
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return __all__
