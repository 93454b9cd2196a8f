"""Cross-validation whose folds share scans."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sklearn.base import clone, is_classifier

from outgrow.engine.activity import activity
from outgrow.errors import ParameterError
from outgrow.ml.core.inputs import open_training
from outgrow.ml.evaluation import Scores, mean_scores, std_scores
from outgrow.ml.selection.folds import Folds, as_folds
from outgrow.ml.selection.job import Chain, Job, failure, scores_of, take_learned
from outgrow.ml.steps import steps_of


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """What cross-validation found.

    Attributes
    ----------
    folds : the scores of each fold on the rows it did not learn from.
    estimators : the model of each fold.
    passes : passes over the rows that all folds took together.
    """

    folds: list[Scores]
    estimators: list[Any]
    passes: int

    def mean(self) -> dict[str, float]:
        """Each metric's mean over the folds."""
        return mean_scores(self.folds)

    def std(self) -> dict[str, float]:
        """Each metric's standard deviation over the folds."""
        return std_scores(self.folds)

    def __repr__(self) -> str:
        mean, std = self.mean(), self.std()
        width = max(map(len, mean))
        return "\n".join(f"{name:<{width}}  {mean[name]:.6g} ± {std[name]:.2g}" for name in mean)


def cross_validate(
    estimator: Any,
    X: Any,
    y: Any,
    sample_weight: Any = None,
    *,
    cv: int | Folds = 5,
    seed: int = 0,
    params: dict[str, Any] | None = None,
) -> CrossValidation:
    """Fit and score an estimator on folds of the rows, side by side.

    A row's fold follows from its values: the same on every engine. The folds share scans: while one pass
    over the rows serves one of them, it serves all.

    Parameters
    ----------
    estimator : a model or a pipeline; it is not changed.
    X, y, sample_weight : as for `fit`.
    cv : number of folds, at least 2, or how rows are held out: a `Holdout`, `KFold`,
        `StratifiedKFold`, `GroupKFold` or `TimeFolds`. A number means `StratifiedKFold` where classes are
        predicted, else `KFold`.
    seed : with a number of folds, another seed makes other folds.
    params : what else the estimator's `fit` takes by keyword, such as an exposure where the model has one.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.arange(40.0)[:, None]
    >>> og.cross_validate(og.LinearRegression(), X, 3 * X[:, 0], cv=4).mean()["r2"]
    1.0
    """
    folds = as_folds(cv, seed, classes=is_classifier(estimator))
    model = clone(estimator)
    model.check_parameters()
    given = model._given_roles(params or {})
    if len(given) < sum(value is not None for value in (params or {}).values()):
        raise ParameterError(f"cross_validate(params={params!r}): the model learns from {list(given)} alone.")
    opened = open_training(model, X, y, sample_weight, hidden=folds.hidden, roles=given)
    *before, last = steps_of(clone(model))
    job = Job([Chain(before, {0: last}, [[0]])], opened.task(model.columns_), folds, refit=False, models=True)
    with activity("cross_validate", estimator, data=opened.dataset, target=opened.target) as validation:
        found = opened.dataset.engine.fit(
            job.run, opened.dataset.scan, stage=f"cross-validate {type(estimator).__name__}"
        ).result
        (parts,) = found["trials"].values()
        for error in filter(None, map(failure, parts)):
            raise error
        models = [_with_learned(model, part["learned"]) for part in parts]
        scores = [scores_of(fitted, part) for fitted, part in zip(models, parts, strict=True)]
        result = CrossValidation(scores, models, found["passes"])
        validation.note(metrics=result.mean(), deviations=result.std(), folds=scores)
    return result


def _with_learned(opened: Any, learned: list[dict[str, Any]]) -> Any:
    """The model of a fold.

    Parameters
    ----------
    opened : an estimator that has noted what it promises to later calls, and has learned nothing.
    learned : by its steps, in this fold.
    """
    model, noted = clone(opened), {name: value for name, value in vars(opened).items() if name.endswith("_")}
    take_learned(model, noted, learned)
    return model
