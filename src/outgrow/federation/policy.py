"""What may leave a site: sums and moments always, values of columns with consent, rows never.

A state that is in none of the lists does not leave. Arrays add, so one that leaves is a sum over the rows of
a site; that a fit does not hide rows in such sums is what `tests/test_federated.py` looks for, in every byte.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from outgrow._settings import is_whole
from outgrow.errors import ParameterError, PrivacyError
from outgrow.stats.site_models import SiteModels
from outgrow.stats.state import State
from outgrow.stats.triangle import Triangle

STATISTICS = frozenset(
    [
        "CategoryCounts",
        "ClassCoMoments",
        "CoMoments",
        "ColumnTypes",
        "CrossMoments",
        "DevianceState",
        "DistinctCount",
        "ErrorCounts",
        "EstimatedClassification",
        "ExtendedSum",
        "GroupedCoMoments",
        "GroupedMoments",
        "GroupedSums",
        "LabelCounts",
        "ManyRegressions",
        "Moments",
        "Outcome",
        "PairMoments",
        "PinballState",
        "Proposals",
        "RankPaces",
        "RegressionState",
        "SlowestRank",
        "Triangle",
    ]
)
"""States of sums, counts and moments: each number is of many rows. The classes of a target are named."""

VALUES = {
    "ClassificationState": "predicted probabilities as they are, where they are few",
    "ColumnState": "quantiles, extremes and frequent values of a column",
    "Contingency": "the combinations of values there are",
    "Extremes": "the least and the largest value of each column",
    "FewDistinct": "hashes of the different values",
    "FrequentValues": "frequent values",
    "Gathered": "some of the values of a column",
    "GridCounts": "the least and the largest value of each column, and texts that a reference has not",
    "GroupedExtremes": "the least and the largest value of each group",
    "GroupedSummary": "the least and the largest value of each group",
    "GroupMoments": "the keys of groups, and the extremes of each",
    "GroupOutcomes": "the keys of groups",
    "GroupScores": "the keys of groups",
    "Keys": "the keys of groups",
    "LearnedColumn": "the ends and the different texts of a column, where they are few",
    "LeastTexts": "some of the texts of a column",
    "ManyClassifications": "predicted probabilities as they are, where they are few",
    "NumberCounts": "the different numbers of a column",
    "NumberSample": "a sample of the values of a column",
    "NumberSums": "the different numbers of a column",
    "PairedDifferences": "the names of slices",
    "PairState": "predicted probabilities as they are, where they are few",
    "QuantileSketch": "a sample of the values of a column",
    "RankedScores": "predicted probabilities as they are, where they are few",
    "SeveralClassifications": "predicted probabilities as they are, where they are few",
    "SiteModels": "the whole model that it learned by itself, such as the values at which trees split",
    "ShapeMoments": "the least and the largest value of each column",
    "Target": "the least and the largest value of the target",
    "TextCounts": "the different texts of a column",
    "TextTally": "texts of a column, and hashes of them",
    "ValueCounts": "the different values of a column",
}
"""States that hold values of single columns as they are in rows, and what those are."""

ROWS = frozenset(
    [
        "Baskets",
        "BatchRows",
        "BoundedBaskets",
        "CheckedRows",
        "Copies",
        "EdgeParts",
        "FoundRows",
        "KeyHashes",
        "LargeArray",
        "LeafRows",
        "LeastDistances",
        "LeastRows",
        "LeastTable",
        "Met",
        "QueryRows",
        "RowParts",
        "RowsAside",
        "SampledRows",
        "ScoredGroups",
        "SparseSums",
        "Strata",
        "TopRows",
    ]
)
"""States that hold rows, or hashes by which a row can be told."""

_CLASSES = "LabelCounts"

_WITHOUT_ROWS = (
    "outgrow.deep.",
    "outgrow.ml.discriminant_analysis.",
    "outgrow.ml.dummy",
    "outgrow.ml.impute.simple_imputer",
    "outgrow.ml.linear_model.",
    "outgrow.ml.meta.",
    "outgrow.ml.naive_bayes.",
    "outgrow.ml.neural_network.",
    "outgrow.ml.pipeline",
    "outgrow.ml.preprocessing.",
    "outgrow.ml.svm.linear_",
    "outgrow.ml.trees.",
)
"""Modules of models that keep no row of those they learned from."""


@dataclass(frozen=True)
class Policy:
    """What a site lets go.

    Parameters
    ----------
    allow_values : True for all states of `VALUES`, or the names of those that may leave.
    least_rows : a site with fewer rows takes no part: sums of a few rows are nearly the rows.
    """

    allow_values: bool | Collection[str] = False
    least_rows: int = 10

    def __post_init__(self) -> None:
        if isinstance(self.allow_values, str) or not isinstance(self.allow_values, bool | Collection):
            raise ParameterError(f"allow_values={self.allow_values!r}: True, or a list of names of states.")
        names = () if isinstance(self.allow_values, bool) else self.allow_values
        unknown = sorted(set(map(str, names)) - set(VALUES))
        if unknown:
            raise ParameterError(f"allow_values: {unknown} are none; what it can name is {sorted(VALUES)}.")
        if not is_whole(self.least_rows):
            raise ParameterError(f"least_rows={self.least_rows!r}: a whole number of rows, at least 1.")

    def check(self, state: Any, stage: str) -> list[dict[str, Any]]:
        """What would leave, as an audit log says it.

        Parameters
        ----------
        state : the result of a fold.
        stage : which fit, for the message.

        Raises
        ------
        PrivacyError
            When it may not leave.
        """
        return list(self._parts(state, stage, within=""))

    def check_rows(self, rows: int) -> None:
        """Refuse to take part with too few rows."""
        if rows < self.least_rows:
            raise PrivacyError(
                f"This site has {rows} rows, and sums of fewer than least_rows={self.least_rows} say too "
                "much of each. Let it take part with more rows, or lower least_rows on the site."
            )

    def _parts(self, state: Any, stage: str, within: str) -> Iterator[dict[str, Any]]:
        if isinstance(state, tuple):
            for part in state:
                yield from self._parts(part, stage, within)
        elif isinstance(state, SiteModels):
            self._check_state(state, "SiteModels", stage)
            yield from _models(state, stage)
        elif isinstance(state, State):
            name = type(state).__name__
            if within != _CLASSES:
                self._check_state(state, name, stage)
            for field in fields(state):
                yield from self._field(f"{name}.{field.name}", getattr(state, field.name), stage, name)
        elif state is not None:
            yield described(within or "sum", state)

    def _field(self, path: str, value: Any, stage: str, name: str) -> Iterator[dict[str, Any]]:
        if isinstance(value, State) or (isinstance(value, tuple) and any(map(_holds_state, value))):
            yield from self._parts(value, stage, name)
        elif name == "Outcome":
            yield from self._parts(value, stage, "")
        else:
            yield described(path, value)

    def _check_state(self, state: State, name: str, stage: str) -> None:
        ours = type(state).__module__.startswith("outgrow.")
        if isinstance(state, Triangle) and not state.done:
            raise PrivacyError(
                f"{stage}: this site has no more rows than the fit has columns, and would send them as they "
                "are. Let it take part with more rows, or choose another solver."
            )
        if ours and name in STATISTICS:
            return
        if ours and name in VALUES:
            if self.allow_values is True or (
                not isinstance(self.allow_values, bool) and name in self.allow_values
            ):
                return
            raise PrivacyError(
                f"{stage} would send {VALUES[name]} ({name}) of this site. Where those may leave, the site "
                f"says so with allow_values=['{name}']; else give the estimator what it would look for, "
                "choose another, or leave the column out."
            )
        raise PrivacyError(
            f"{stage} would send rows of this site, or what they can be told from ({name}): a federated site "
            "never does. Choose an estimator whose passes add up, such as a linear model; see "
            "docs/federated.md."
        )


def _holds_state(value: Any) -> bool:
    return isinstance(value, State) or (isinstance(value, tuple) and any(map(_holds_state, value)))


def _models(state: SiteModels, stage: str) -> Iterator[dict[str, Any]]:
    """What leaves of the models of a site; one that may hold rows does not."""
    for member in state.members:
        kept = [kind for kind in member["kinds"] if not kind.startswith(_WITHOUT_ROWS)]
        if kept:
            raise PrivacyError(
                f"{stage} would send a model of this site that may keep rows (of {', '.join(kept)}): a "
                "federated site never does. Choose trees, a linear model or naive Bayes."
            )
        yield from _leaves("SiteModels", member)


def _leaves(path: str, value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _leaves(f"{path}.{key}", part)
    else:
        yield described(path, value)


def described(path: str, value: Any) -> dict[str, Any]:
    """An array or another value, without what it says: its name, type, shape and bytes.

    Parameters
    ----------
    path : what it is called.
    value : the value.
    """
    if isinstance(value, np.ndarray):
        return {"name": path, "type": value.dtype.str, "shape": list(value.shape), "bytes": value.nbytes}
    size = len(value) if isinstance(value, str | bytes | dict | list | tuple) else 1
    return {"name": path, "type": type(value).__name__, "shape": [size]}
