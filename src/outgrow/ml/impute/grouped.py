"""Filling in the means of many groups at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from outgrow.ml.core.groups import GroupBlock, GroupView, Stacked
from outgrow.stats.grouped import GroupedMoments


@dataclass(frozen=True)
class GroupedFilling:
    """The means of each group. A column of which a group has no value is 0 there, and so has no effect."""

    missing = True

    def learn(self, view: GroupView) -> Stacked:
        moments = view.reduce(_grouped_moments)
        return {"statistics_": np.where(moments.n > 0, moments.mean, 0.0)}

    def apply(self, X: np.ndarray, learned: Stacked, place: np.ndarray) -> np.ndarray:
        """X with the means of each row's own group where it is NaN.

        Parameters
        ----------
        X : shape (rows, columns).
        learned : what `learn` gave; `statistics_` has shape (groups, columns).
        place : shape (rows,), the place of each row's group in what was learned.
        """
        return np.where(np.isnan(X), learned["statistics_"][place], X)

    def beside(self) -> dict[str, Any]:
        return {"text_": [], "vectors_": {}, "indicators_": {}, "indicated_": {}}


def _grouped_moments(block: GroupBlock) -> GroupedMoments:
    return GroupedMoments.of(block.segments, block.features)
