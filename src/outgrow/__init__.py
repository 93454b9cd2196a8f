"""Write a machine-learning pipeline once; train and score it on one machine or on Apache Spark."""

from __future__ import annotations

import importlib
from typing import Any

from outgrow.ml.catalogue import ESTIMATORS, MADE_OF_OTHERS

_HOMES = {
    **ESTIMATORS,
    **MADE_OF_OTHERS,
    "Dataset": "outgrow.engine.dataset",
    "GroupKFold": "outgrow.ml.folds",
    "Holdout": "outgrow.ml.folds",
    "KFold": "outgrow.ml.folds",
    "ModelStore": "outgrow.serve.versions",
    "Local": "outgrow.engine.local",
    "StratifiedKFold": "outgrow.ml.folds",
    "TimeFolds": "outgrow.ml.folds",
    "categorical": "outgrow.ml.columns",
    "col": "outgrow.data.expression",
    "cross_validate": "outgrow.ml.cross_validation",
    "dataset": "outgrow.engine.open",
    "errors": "outgrow.errors",
    "listen": "outgrow.engine.events",
    "live_quality": "outgrow.serve.quality",
    "load": "outgrow.ml.persistence",
    "matching": "outgrow.ml.columns",
    "numeric": "outgrow.ml.columns",
    "quantize_onnx": "outgrow.ml.export.onnx.quantize",
    "read": "outgrow.engine.dataset",
    "read_quality": "outgrow.serve.quality",
    "score": "outgrow.serve.batch",
    "score_stream": "outgrow.serve.stream",
    "silhouette_score": "outgrow.ml.cluster.silhouette",
    "sql": "outgrow.engine.sql",
    "track": "outgrow.track",
    "tune": "outgrow.tuning.search",
    "write_parquet": "outgrow.engine.write",
    "Spark": "outgrow.engine.spark.engine",
}

__version__ = "0.1.0"
__all__ = sorted([*_HOMES, "__version__"])


def __getattr__(name: str) -> Any:
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module 'outgrow' has no attribute {name!r}") from None
    module = importlib.import_module(home)
    return module if home == f"outgrow.{name}" else getattr(module, name)


def __dir__() -> list[str]:
    return __all__
