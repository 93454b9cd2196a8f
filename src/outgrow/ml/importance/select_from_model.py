"""The columns that matter to one model."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from outgrow.engine.shard import Shard
from outgrow.errors import ParameterError
from outgrow.ml.core.columns import Columns
from outgrow.ml.core.parameters import FLAG, Integer, Number, OneOf, Such
from outgrow.ml.core.task import Task
from outgrow.ml.importance.base import ModelSelection, importances
from outgrow.ml.linear_model.ridge import Ridge

_WORDS = re.compile(r"\s*(?:(?P<scale>[^*]+?)\s*\*\s*)?(?P<of>mean|median)\s*")
_STATISTICS: dict[str, Callable[[np.ndarray], Any]] = {"mean": np.mean, "median": np.median}
_ABSENT = 1e-5
"""Where a penalty leaves columns out, others have larger coefficients than this."""


def _scaled(words: Any) -> tuple[float, str] | None:
    """A factor, and what it is of; None for other words."""
    match = _WORDS.fullmatch(words) if isinstance(words, str) else None
    try:
        return None if match is None else (float(match["scale"] or 1.0), match["of"])
    except ValueError:
        return None


class SelectFromModel(ModelSelection):
    """Keep the columns of which a model makes much: those with large coefficients, or importances.

    Parameters
    ----------
    estimator : the model, of outgrow or scikit-learn, with `coef_` or `feature_importances_` once it is
        fitted.
    threshold : columns of less importance are left out: a number, 'mean', 'median', or a multiple of these,
        such as '1.25*mean'; None for 'mean', or for 1e-5 where the model has an absolute penalty.
    prefit : the model is fitted already; no rows are looked at.
    norm_order : of the norm that makes one importance of the coefficients of several classes or targets.
    max_features : how many columns are kept at most; None for any number. With `threshold=-numpy.inf` exactly
        so many are.
    importance_getter : the attribute of the fitted model, through dots also of a part of it; 'auto' for
        `coef_`, or else `feature_importances_`.
    columns : which columns it looks at, by name or selector; all by default. Others stay.

    Attributes
    ----------
    importances_ : ndarray of shape (n_columns,).
    threshold_ : the number that importances are compared with.
    support_ : ndarray of bool, of shape (n_columns,): which columns are kept, vectors spelt out.
    input_names_ : list of their names.
    estimator_ : the fitted model.

    Notes
    -----
    Unlike scikit-learn: no functions as `importance_getter` or `max_features`; no `partial_fit`.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.random.default_rng(0).normal(size=(50, 3))
    >>> og.SelectFromModel(og.Ridge()).fit(X, 5 * X[:, 1] + X[:, 0]).get_support().tolist()
    [False, True, False]
    """

    test_parameters = {"estimator": Ridge()}
    parameters = {
        **ModelSelection.parameters,
        "threshold": Number()
        | Such("'mean', 'median', a multiple such as '1.25*mean'", lambda words: _scaled(words) is not None)
        | None,
        "prefit": FLAG,
        "norm_order": Integer(low=1) | Integer(high=-1) | OneOf(np.inf, -np.inf),
        "max_features": Integer(low=0) | None,
    }
    importances_: np.ndarray
    threshold_: float

    def __init__(
        self,
        estimator: Any,
        *,
        threshold: float | str | None = None,
        prefit: bool = False,
        norm_order: Any = 1,
        max_features: int | None = None,
        importance_getter: str = "auto",
        columns: Columns = None,
    ) -> None:
        self.estimator = estimator
        self.threshold = threshold
        self.prefit = prefit
        self.norm_order = norm_order
        self.max_features = max_features
        self.importance_getter = importance_getter
        self.columns = columns

    @property
    def learns_nothing(self) -> bool:  # type: ignore[override]
        """Whether the model is fitted already, so that no row is looked at."""
        return self.prefit

    @property
    def estimator_(self) -> Any:
        """The fitted model, of scikit-learn if it was given one of these."""
        return self.estimator if self.prefit else super().estimator_

    def __sklearn_clone__(self) -> Any:
        made = super().__sklearn_clone__()
        if self.prefit:
            made.estimator = self.estimator
        return made

    def _learn_columns(self, shard: Shard, names: list[str], task: Task) -> None:
        if self.prefit:
            check_is_fitted(self.estimator)
            model = self.estimator
        else:
            model = self._learned_by(shard, names, task)
            self.learned_ = model._learned()
        self.importances_ = importances(model, self.importance_getter, self._norm)
        if len(self.importances_) != len(self.input_names_):
            raise ParameterError(
                f"The model has {len(self.importances_)} importances, and there are "
                f"{len(self.input_names_)} columns. Give a model that learned from these columns."
            )
        self.threshold_ = self._limit()

    def _norm(self, values: np.ndarray) -> np.ndarray:
        return np.abs(values[0]) if len(values) == 1 else np.linalg.norm(values, axis=0, ord=self.norm_order)

    def _limit(self) -> float:
        if self.threshold is None and _leaves_out(self.estimator):
            return _ABSENT
        scaled = _scaled("mean" if self.threshold is None else self.threshold)
        if scaled is None:
            return float(self.threshold)  # type: ignore[arg-type]
        return scaled[0] * float(_STATISTICS[scaled[1]](self.importances_))

    def _chosen(self) -> np.ndarray:
        kept = np.zeros(len(self.importances_), dtype=bool)
        kept[np.argsort(-self.importances_, kind="stable")[: self.max_features]] = True
        return kept & ~(self.importances_ < self.threshold_)


def _leaves_out(estimator: Any) -> bool:
    """Whether the penalty of a model is absolute, as scikit-learn tells it."""
    name = type(estimator).__name__
    shared = name.startswith(("ElasticNet", "LogisticRegression"))
    ratio = getattr(estimator, "l1_ratio_" if name.endswith("CV") else "l1_ratio", None) if shared else None
    absolute = ratio is not None and bool(np.isclose(np.asarray(ratio, dtype=np.float64), 1.0).all())
    return getattr(estimator, "penalty", None) == "l1" or "Lasso" in name or absolute
