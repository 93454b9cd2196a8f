"""Features by key and time: joined as they were known then, kept ready for servers, checked for leaks.

The words are Feast's; `FeatureStore` is where to begin.

Examples
--------
>>> import outgrow as og
>>> og.features.Entity("user", join_keys="user_id")
Entity(name='user', join_keys=('user_id',))
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "Aggregation": "outgrow.features.aggregation",
    "Entity": "outgrow.features.definitions",
    "FeatureService": "outgrow.features.definitions",
    "FeatureStore": "outgrow.features.store",
    "FeatureView": "outgrow.features.definitions",
    "OnDemandView": "outgrow.features.definitions",
    "Source": "outgrow.features.definitions",
    "as_of_join": "outgrow.features.joined",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'outgrow.features' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
