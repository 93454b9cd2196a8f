"""All public estimators: those of `ml`, and those that need torch."""

from __future__ import annotations

import importlib
from typing import Any

from outgrow.deep.catalogue import NETWORKS
from outgrow.ml.catalogue import ESTIMATORS as CLASSIC

ESTIMATORS = {**CLASSIC, **NETWORKS}


def estimator_class(name: str) -> Any:
    """The estimator of this name.

    Parameters
    ----------
    name : one of `ESTIMATORS`.
    """
    return getattr(importlib.import_module(ESTIMATORS[name]), name)
