"""Feast's part of `python -m bench features-store`, for a Python that has Feast; prints JSON."""

from __future__ import annotations

import datetime
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource
from feast.types import Float64
from feast.value_type import ValueType

CONFIGURATION = """project: bench
provider: local
registry: {folder}/registry.db
offline_store: {{type: duckdb}}
online_store: {{type: sqlite, path: {folder}/feast_online.db}}
entity_key_serialization_version: 3
"""


def timed(store: Any, features: list[str], keys: int, turns: int, count: int) -> dict[str, float]:
    random = np.random.default_rng(1)
    taken = []
    for _ in range(turns):
        rows = [{"key": key} for key in random.integers(0, keys, count).tolist()]
        began = time.perf_counter()
        store.get_online_features(features=features, entity_rows=rows).to_dict()
        taken.append(1e3 * (time.perf_counter() - began))
    p50, p99 = np.percentile(taken[turns // 10 :], [50, 99])
    return {"p50": float(p50), "p99": float(p99)}


def main() -> None:
    settings = json.loads(sys.argv[1])
    folder, end = Path(settings["folder"]), datetime.datetime.fromisoformat(settings["end"])
    (folder / "feature_store.yaml").write_text(CONFIGURATION.format(folder=folder))
    store = FeatureStore(repo_path=str(folder))
    entity = Entity(name="key", join_keys=["key"], value_type=ValueType.INT64)
    source = FileSource(
        path=str(folder / "rows.parquet"), timestamp_field="at", created_timestamp_column="written"
    )
    fields = [Field(name=name, dtype=Float64) for name in settings["names"]]
    view = FeatureView(
        name="v", entities=[entity], schema=fields, source=source, ttl=datetime.timedelta(days=60)
    )
    store.apply([entity, view])
    features = [f"v:{name}" for name in settings["names"]]
    asked = pd.read_parquet(folder / "asked.parquet")
    found: dict[str, Any] = {}
    for _ in range(2):
        began = time.perf_counter()
        store.get_historical_features(entity_df=asked, features=features).to_df()
        found["join"] = time.perf_counter() - began
    began = time.perf_counter()
    store.materialize(end - datetime.timedelta(days=60), end)
    found["materialise"] = time.perf_counter() - began
    for count in (1, 50):
        found[f"online {count}"] = timed(store, features, settings["keys"], settings["turns"], count)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
