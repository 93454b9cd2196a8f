"""How good predictions are that lie in any table: the public functions, loaded when first used.

`model.evaluate` judges a model. These judge columns: what another tool predicted, what a stream wrote last
night, one model on each of the shops (`by=`), on the engine where the rows are.

Examples
--------
>>> import pyarrow as pa, outgrow as og
>>> rows = pa.table({"sales": [3.0, 5.0, 8.0], "prediction": [2.0, 5.0, 10.0]})
>>> og.metrics.regression_report(rows, "sales", "prediction")["mae"]
1.0
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "classification_report": "outgrow.metrics.classification",
    "multilabel_report": "outgrow.metrics.multilabel",
    "regression_report": "outgrow.metrics.regression",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module 'outgrow.metrics' has no attribute {name!r}") from None
    return getattr(importlib.import_module(home), name)
