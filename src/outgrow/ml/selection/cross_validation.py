"""Cross-validation whose folds share scans."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sklearn.base import clone, is_classifier

from outgrow.engine.shard import Shard
from outgrow.engine.together import together
from outgrow.errors import ParameterError
from outgrow.ml.core.estimator import Estimator
from outgrow.ml.core.inputs import open_training
from outgrow.ml.core.task import Task
from outgrow.ml.evaluation import Scores, mean_scores, read_scores, scorer, std_scores
from outgrow.ml.selection.folds import Folds, as_folds, check_places
from outgrow.stats.state import to_tree


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
    models = [clone(estimator) for _ in range(folds.count)]
    for model in models:
        model.check_parameters()
        given = model._given_roles(params or {})
        if len(given) < sum(value is not None for value in (params or {}).values()):
            raise ParameterError(
                f"cross_validate(params={params!r}): the model learns from {list(given)} alone."
            )
        opened = open_training(model, X, y, sample_weight, hidden=folds.hidden, roles=given)
    task = opened.task(models[0].columns_)
    workers = [clone(model) for model in models]

    def run(shard: Shard) -> dict[str, Any]:
        placed = shard.placed(folds.placing(shard, task.target), hidden=folds.hidden)
        check_places(folds, placed.count_places(len(folds.train_places(0))))
        parts = together(placed, [_fold(worker, task, k, folds) for k, worker in enumerate(workers)])
        return {"folds": parts, "passes": shard.run.passes}

    found = opened.dataset.engine.fit(
        run, opened.dataset.scan, stage=f"cross-validate {type(estimator).__name__}"
    ).result
    for model, part in zip(models, found["folds"], strict=True):
        model._restore({"columns_": model.columns_, **part["learned"]})
    scores = [read_scores(model, part["scores"]) for model, part in zip(models, found["folds"], strict=True)]
    return CrossValidation(scores, models, found["passes"])


def _fold(worker: Estimator, task: Task, k: int, folds: Folds) -> Callable[[Shard], dict[str, Any]]:
    def fit(shard: Shard) -> dict[str, Any]:
        worker._fit_shard(shard.subset(folds.train_places(k)), task, last=False)
        held_out = shard.subset(folds.test_places(k))
        return {"learned": worker._learned(), "scores": to_tree(held_out.reduce(scorer(worker, task)))}

    return fit
