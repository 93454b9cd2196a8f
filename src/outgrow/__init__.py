"""Write a machine-learning pipeline once; train and score it on one machine or on Apache Spark."""

from __future__ import annotations

import importlib
import os
from typing import Any

from outgrow._version import __version__ as __version__
from outgrow.catalogue import ESTIMATORS

_HOMES = {
    **ESTIMATORS,
    "DecodeImage": "outgrow.deep.images",
    "Dataset": "outgrow.engine.dataset",
    "DatasetVersion": "outgrow.data.version",
    "EventLog": "outgrow.log.event_log",
    "Expectations": "outgrow.expectations.expectations",
    "FeatureStore": "outgrow.features.store",
    "FeatureView": "outgrow.features.definitions",
    "GossipEnsemble": "outgrow.ml.meta.gossip_ensemble",
    "GroupKFold": "outgrow.ml.selection.folds",
    "Holdout": "outgrow.ml.selection.folds",
    "KFold": "outgrow.ml.selection.folds",
    **dict.fromkeys(
        (
            *("DDP", "EASGD", "FSDP", "DiLoCo", "FedAvg", "Gossip", "LocalSGD", "ParameterServer"),
            *("PipelineParallel", "PushSum", "TensorParallel"),
        ),
        "outgrow.deep.strategies",
    ),
    **dict.fromkeys(("Bfloat16", "Int8", "PowerSGD", "Sign", "TopK"), "outgrow.deep.codecs"),
    **dict.fromkeys(("Krum", "Median", "TrimmedMean"), "outgrow.stats.robust"),
    "Loader": "outgrow.deep.loader",
    "Monitor": "outgrow.monitor.monitor",
    "NetworkFeatures": "outgrow.deep.network_features",
    "Loop": "outgrow.loop.run",
    "ModelStore": "outgrow.registry.store",
    "PerGroup": "outgrow.groups.per_group",
    "Local": "outgrow.engine.local",
    "MPI": "outgrow.engine.ranks.mpi",
    "StratifiedKFold": "outgrow.ml.selection.folds",
    "TimeFolds": "outgrow.ml.selection.folds",
    "categorical": "outgrow.ml.core.columns",
    "check_leakage": "outgrow.features.leakage",
    "col": "outgrow.data.expression",
    "compact": "outgrow.compaction.compact",
    "cross_validate": "outgrow.ml.selection.cross_validation",
    "dataset": "outgrow.engine.open",
    "drift": "outgrow.monitor.drift",
    "errors": "outgrow.errors",
    "expectations": "outgrow.expectations",
    "features": "outgrow.features",
    "federated": "outgrow.federation.fit",
    "few_values": "outgrow.ml.core.columns",
    "graph_clusters": "outgrow.ml.cluster.graph",
    "frequent_sequences": "outgrow.ml.fpm.prefix_span",
    "inspection": "outgrow.inspection",
    "lag_features": "outgrow.engine.history",
    "layout": "outgrow.compaction.survey",
    "linalg": "outgrow.linalg",
    "lineage": "outgrow.provenance.records",
    "listen": "outgrow.engine.events",
    "live_quality": "outgrow.monitor.live_quality",
    "load": "outgrow.ml.persistence",
    "matching": "outgrow.ml.core.columns",
    "metrics": "outgrow.metrics",
    "numeric": "outgrow.ml.core.columns",
    "quality": "outgrow.monitor.quality",
    "plan": "outgrow.planning.planner",
    "quantize_onnx": "outgrow.ml.export.onnx.quantize",
    "read": "outgrow.engine.reading",
    "read_quality": "outgrow.monitor.live_quality",
    "rolling_features": "outgrow.engine.history",
    "runs": "outgrow.track.runs",
    "score": "outgrow.serve.batch",
    "score_stream": "outgrow.serve.stream",
    "sequences": "outgrow.engine.history",
    "shap_values": "outgrow.ml.importance.shap",
    "silhouette_score": "outgrow.ml.cluster.silhouette",
    "sql": "outgrow.engine.sql",
    "stats": "outgrow.stats",
    "track": "outgrow.track",
    "tune": "outgrow.tuning.search",
    "write_parquet": "outgrow.engine.write",
    "Reference": "outgrow.engine.reference",
    "Ranks": "outgrow.engine.ranks.engine",
    "Spark": "outgrow.engine.spark.engine",
}

if os.environ.get("OUTGROW_LOG"):
    importlib.import_module("outgrow.engine.activity").before_first(
        lambda: importlib.import_module("outgrow.track.tracking").start_from_environment()
    )

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
