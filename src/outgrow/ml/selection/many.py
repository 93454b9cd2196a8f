"""Many settings of one estimator on many folds, learnt and scored in the same scans over the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sklearn.base import clone, is_classifier

from outgrow.errors import OutgrowError, ParameterError
from outgrow.ml.base import Model
from outgrow.ml.core.inputs import open_training
from outgrow.ml.evaluation import Scores, mean_scores, std_scores
from outgrow.ml.selection.folds import Folds, as_folds
from outgrow.ml.selection.job import Chain, Job, failure, scores_of, take_learned
from outgrow.ml.steps import digest, steps_of

Setting = Mapping[str, Any]


@dataclass(eq=False)
class Trial:
    """One setting and what came of it.

    Attributes
    ----------
    setting : the parameters.
    folds : the scores of each fold on the rows it did not learn from; empty if a fold failed.
    estimators : the estimator of each fold, where they were asked for.
    refitted : the estimator of all rows, where it was asked for.
    error : why the setting cannot be learnt or scored, or None.
    """

    setting: Setting
    folds: list[Scores] = field(default_factory=list)
    estimators: list[Any] = field(default_factory=list)
    refitted: Any = None
    error: Exception | None = None

    def mean(self) -> dict[str, float]:
        """Each metric's mean over the folds."""
        return mean_scores(self.folds)

    def std(self) -> dict[str, float]:
        """Each metric's standard deviation over the folds."""
        return std_scores(self.folds)


@dataclass(frozen=True, eq=False)
class ManyFits:
    """What came of many settings.

    Attributes
    ----------
    trials : one for each setting, in their order.
    passes : passes over the rows that all of them took together.
    """

    trials: list[Trial]
    passes: int


def fit_many(
    estimator: Any,
    X: Any,
    y: Any,
    settings: Sequence[Setting],
    sample_weight: Any = None,
    *,
    folds: Folds | None = None,
    refit: bool = False,
    models: bool = False,
    params: Mapping[str, Any] | None = None,
) -> ManyFits:
    """Learn many settings of an estimator on every fold, and score each on the rows held out.

    Settings that differ only in the model's `shared_fit_parameters` are learnt together, as matrix products
    over the same scans; others one after the other, with scans shared by the folds. What stands before the
    model is learnt once a fold. All of it is one fit of the engine: on Spark, one barrier job. Each result is
    that of the ordinary `fit` with that setting on the rows of that fold, to the estimator's tolerance.

    Parameters
    ----------
    estimator : a model, or a pipeline that ends in one; it is not changed.
    X, y, sample_weight : as for `fit`.
    settings : parameters to set, as `set_params` takes them.
    folds : how rows are held out; five folds by default, as `cross_validate` makes them.
    refit : also learn each setting from all rows, in the same scans.
    models : also give the estimators of the folds.
    params : what else the estimator's `fit` takes by keyword, such as an exposure.

    Notes
    -----
    The scores of a classifier are those of `cross_validate`. With so many candidates that their held-out rows
    together exceed five million, areas under curves are read from scores counted in bins, at least 2,000.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> from outgrow.ml.selection.many import fit_many
    >>> X = np.arange(40.0)[:, None]
    >>> found = fit_many(og.Ridge(), X, 3 * X[:, 0], [{"alpha": 0.0}, {"alpha": 1e6}])
    >>> [round(trial.mean()["r2"], 2) > 0.9 for trial in found.trials], found.passes
    ([True, False], 2)
    """
    folds = as_folds(folds or 5, classes=is_classifier(estimator))
    opened_by = clone(estimator)
    roles = opened_by._given_roles(params or {})
    opened = open_training(opened_by, X, y, sample_weight, hidden=folds.hidden, roles=roles)
    task = opened.task(opened_by.columns_)
    trials = [Trial(setting) for setting in settings]
    prepared = [_prepared(estimator, trial) for trial in trials]
    job = Job(_chains(estimator, prepared), task, folds, refit, models)
    found = opened.dataset.engine.fit(
        job.run, opened.dataset.scan, stage=f"fit {len(trials)} settings of {type(estimator).__name__}"
    ).result
    promised = {name: value for name, value in vars(opened_by).items() if name in _PROMISES}
    for place, (trial, each) in enumerate(zip(trials, prepared, strict=True)):
        if each is not None:
            _read(trial, each, promised, found["trials"][str(place)], folds.count)
    return ManyFits(trials, found["passes"])


def fusable_groups(estimator: Any, settings: Sequence[Setting]) -> list[list[int]]:
    """Which settings `fit_many` learns together: their places, group by group.

    Parameters
    ----------
    estimator, settings : as for `fit_many`; a setting that cannot be set is in no group.

    Examples
    --------
    >>> import outgrow as og
    >>> from outgrow.ml.selection.many import fusable_groups
    >>> fusable_groups(og.Ridge(), [{"alpha": 1}, {"alpha": 2}, {"alpha": 2, "fit_intercept": False}])
    [[0, 1], [2]]
    """
    prepared = [_prepared(estimator, Trial(setting)) for setting in settings]
    return [group for chain in _chains(estimator, prepared) for group in chain.groups]


_PROMISES = ("columns_", "n_features_in_", "feature_names_in_")


def _prepared(estimator: Any, trial: Trial) -> Any:
    """The estimator with a setting; None, and the error noted, if it cannot be."""
    try:
        changed = clone(estimator).set_params(**trial.setting)
        changed.check_parameters()
        if not isinstance(steps_of(changed)[-1], Model):
            raise ParameterError(
                f"{type(steps_of(changed)[-1]).__name__} is no model; there is nothing to score."
            )
    except (ValueError, OutgrowError) as error:
        trial.error = error
        return None
    return changed


def _chains(estimator: Any, prepared: Sequence[Any]) -> list[Chain]:
    chains: dict[str, Chain] = {}
    groups: dict[tuple[str, str], list[int]] = {}
    for place, each in enumerate(prepared):
        if each is None:
            continue
        *before, last = steps_of(each)
        key = digest(before)
        chain = chains.setdefault(key, Chain(before, {}, []))
        chain.lasts[place] = last
        own = (
            f"alone {place}"
            if last.shared_fit_parameters is None
            else digest([_without(last, last.shared_fit_parameters)])
        )
        if (key, own) not in groups:
            groups[key, own] = []
            chain.groups.append(groups[key, own])
        groups[key, own].append(place)
    return list(chains.values())


def _without(model: Any, names: Sequence[str]) -> Any:
    """The model with its default for some parameters."""
    defaults = type(model)().get_params()
    return clone(model).set_params(**{name: defaults[name] for name in names})


def _read(
    trial: Trial, prepared: Any, promised: dict[str, Any], parts: Sequence[dict[str, Any]], count: int
) -> None:
    """Note on a trial what the ranks found."""
    trial.error = next(filter(None, map(failure, parts)), None)
    if trial.error is not None:
        return
    for part in parts[:count]:
        trial.folds.append(scores_of(prepared, part))
        if "learned" in part:
            trial.estimators.append(_restored(prepared, promised, part["learned"]))
    if len(parts) > count:
        trial.refitted = _restored(prepared, promised, parts[-1]["learned"])


def _restored(prepared: Any, promised: dict[str, Any], learned: list[dict[str, Any]]) -> Any:
    """A fitted estimator with a setting."""
    estimator = clone(prepared)
    take_learned(estimator, promised, learned)
    return estimator
