"""Statistics: the public functions, loaded when first used; in this folder the mergeable states behind them.

A missing value, which NaN is too, is no value: it counts for nothing in its own column. What is about
several columns takes the rows that have all of those. Moments, and tests that are made of them, refuse
infinity; ranks and counts take it as a value.

Examples
--------
>>> import numpy as np, outgrow as og
>>> og.stats.summarize(np.array([1.0, 2.0, 6.0]), quantiles=[0.5]).quantiles
{0.5: array([2.])}
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "acf": "outgrow.statistics.autocorrelation",
    "association": "outgrow.statistics.associations",
    "bartlett": "outgrow.statistics.group_tests",
    "bootstrap": "outgrow.statistics.poisson_bootstrap",
    "chi2_contingency": "outgrow.statistics.contingency",
    "chisquare": "outgrow.statistics.contingency",
    "cluster_agreement": "outgrow.statistics.clusters",
    "cluster_scores": "outgrow.statistics.clusters",
    "corr": "outgrow.statistics.correlation",
    "cov": "outgrow.statistics.correlation",
    "crosstab": "outgrow.statistics.contingency",
    "f_oneway": "outgrow.statistics.group_tests",
    "kernel_density": "outgrow.statistics.density",
    "ks_2samp": "outgrow.statistics.kolmogorov",
    "kstest": "outgrow.statistics.kolmogorov",
    "levene": "outgrow.statistics.group_tests",
    "ranking_report": "outgrow.statistics.ranking",
    "summarize": "outgrow.statistics.summary",
    "ttest_1samp": "outgrow.statistics.t_tests",
    "ttest_ind": "outgrow.statistics.t_tests",
    "ttest_rel": "outgrow.statistics.t_tests",
    "var_test": "outgrow.statistics.group_tests",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module 'outgrow.stats' has no attribute {name!r}") from None
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return __all__
