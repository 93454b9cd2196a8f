"""What a search found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import optuna
import pyarrow as pa

from outgrow.errors import ParameterError
from outgrow.tuning.importance import shares
from outgrow.tuning.scores import SMALLER
from outgrow.tuning.study import error_of, parameters_of, row_of


@dataclass(frozen=True, eq=False)
class TuneResult:
    """What a search found.

    Attributes
    ----------
    metrics : the names of the metrics that were optimised.
    study : Optuna's study; its plots and its importances work on it.
    best_estimator : the best settings, fitted on all rows; None for functions and with `refit=False`.

    Examples
    --------
    >>> import outgrow as og
    >>> result = og.tune(lambda p: (p["x"] - 3) ** 2, space={"x": [1, 2, 3]}, metric="loss",
    ...                  sampler="grid", workers=1)
    >>> result.best_parameters, result.best_value, result.trials.num_rows
    ({'x': 3}, 0.0, 3)
    """

    metrics: tuple[str, ...]
    study: optuna.study.Study
    best_estimator: Any = None

    @property
    def best_parameters(self) -> dict[str, Any]:
        """The settings of the best trial; of several metrics, of the trial best in the first of them."""
        return parameters_of(self.best_trial)

    @property
    def best_value(self) -> float:
        """The first metric of the best trial."""
        return float(self.best_trial.values[0])

    @property
    def best_values(self) -> dict[str, float]:
        """The metrics of the best trial."""
        return dict(zip(self.metrics, self.best_trial.values, strict=True))

    @property
    def best_trial(self) -> optuna.trial.FrozenTrial:
        """The best trial.

        Raises
        ------
        ParameterError
            When no trial was done.
        """
        if len(self.metrics) == 1:
            done = [self.study.best_trial] if _done(self.study) else []
        else:
            done = sorted(self.study.best_trials, key=lambda trial: trial.values[0])
        if not done:
            errors = [error for trial in self.study.trials if (error := error_of(trial))]
            hint = f" The last said: {errors[-1]}" if errors else ""
            raise ParameterError(f"No trial was done, so none is the best.{hint}")
        return done[0 if self.metrics[0] in SMALLER or len(self.metrics) == 1 else -1]

    @property
    def trials(self) -> pa.Table:
        """A row for each trial: number, state, metrics, parameters, seconds, and why one failed."""
        rows = [row_of(trial, self.metrics) for trial in self.study.get_trials(deepcopy=False)]
        names = list(dict.fromkeys(name for row in rows for name in row))
        return pa.table({name: _column([row.get(name) for row in rows]) for name in names})

    def importances(self) -> dict[str, float]:
        """How much of the differences between trials each parameter explains, by Optuna's fANOVA."""
        return shares(self.study)

    def __repr__(self) -> str:
        states = [trial.state.name for trial in self.study.get_trials(deepcopy=False)]
        counts = ", ".join(f"{states.count(s)} {s.lower()}" for s in dict.fromkeys(states))
        values = [
            f"{name} {value:.6g}" for name, value in zip(self.metrics, self.best_trial.values, strict=True)
        ]
        best = ", ".join(f"{name}={value!r}" for name, value in self.best_parameters.items())
        return f"{', '.join(values)} with {best} (trial {self.best_trial.number}; {counts})"


def _done(study: optuna.study.Study) -> bool:
    return bool(study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,)))


def _column(values: list[Any]) -> pa.Array:
    """Values of one kind; of several kinds as text."""
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([None if value is None else str(value) for value in values])
