"""A fitted estimator as a fitted object of scikit-learn."""

from __future__ import annotations

from typing import Any

from sklearn.pipeline import Pipeline

from outgrow.data.kind import NUMBER
from outgrow.ml.core.estimator import Estimator
from outgrow.ml.core.exports import check_has_equal, refusal
from outgrow.ml.export.sklearn.flow import note_width, opened


def equal(estimator: Estimator) -> Any:
    """The equal of a fitted estimator; see its `to_sklearn`."""
    steps = estimator.active_steps
    for _, step in steps:
        check_has_equal(step, "_to_sklearn", "scikit-learn")
        if getattr(step, "apart_", None):
            raise refusal(
                step,
                f"it works on single numbers of the vectors {list(step.apart_)}, which are sparse there.",
                "Make columns of them before, as OneHotEncoder(sparse_output=False) does.",
            )
    if len(steps) == 1 and _takes_columns_as_they_are(estimator):
        return _alone(estimator)
    flow = opened(estimator, steps=True)
    for name, step in steps:
        if getattr(step, "selected_", True):
            flow = step._to_sklearn(name.replace("__", "-"), flow)
    if flow.columns:
        flow = flow.in_order(list(flow.columns))
    return flow.steps[0][1] if len(flow.steps) == 1 else Pipeline(flow.steps)


def _takes_columns_as_they_are(estimator: Any) -> bool:
    """Whether this is a model of numbers, or of whatever it may be."""
    if not hasattr(estimator, "_sklearn_model") or hasattr(estimator, "categories_"):
        return False
    if estimator._used_features() != estimator.features_:
        return False
    return not estimator.features_ or all(kind == NUMBER for kind in estimator.columns_.values())


def _alone(estimator: Any) -> Any:
    model = estimator._sklearn_model()
    note_width(model, len(estimator.columns_))
    if hasattr(estimator, "feature_names_in_"):
        estimator._name_features(model, estimator.feature_names_in_)
    return model
