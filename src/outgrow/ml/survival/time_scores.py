"""How predicted times are judged beside times of which some are censored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from outgrow.engine.blocks import Block
from outgrow.errors import DataError
from outgrow.ml.survival.concordance import concordance, survival_of
from outgrow.stats.quantiles import Gathered
from outgrow.stats.scores import RegressionState


class TimeScoring:
    """Predicted times beside times, known or censored; the model says how probable they are.

    Its states are a few numbers of each row, the errors of the known times, and the summed log likelihood.
    """

    method = "predict"
    labels = False
    names: tuple[str, ...] = ("concordance", "log_likelihood", "r2", "mse", "rmse", "mae")

    def states(self, models: Sequence[Any], answers: Any, block: Block, bins: int | None) -> Any:
        """See `Scoring.states`.

        Parameters
        ----------
        models, answers, block, bins : as there.

        Raises
        ------
        DataError
            When a time is not greater than 0.
        """
        time, weight, event = survival_of(block)[:3]
        if not (time > 0).all():
            raise DataError(f"Times must be greater than 0; y holds {time[~(time > 0)][:5].tolist()}.")
        return tuple(
            (
                Gathered((np.asarray(each, dtype=np.float64), time, weight, event)),
                RegressionState.of(time, np.asarray(each), weight * event),
                np.array([weight @ model._log_likelihoods(np.asarray(each), block)]),
            )
            for model, each in zip(models, answers, strict=True)
        )

    def weight(self, state: Any) -> float:
        """See `Scoring.weight`.

        Parameters
        ----------
        state : as there.
        """
        return float(state[0].values[2].sum())

    def metrics(self, state: Any) -> dict[str, float]:
        """See `Scoring.metrics`.

        Parameters
        ----------
        state : as there.
        """
        rows, errors, log_likelihood = state
        predicted, time, weight, event = rows.values
        return {
            "concordance": concordance(-predicted, time, event, weight),
            "log_likelihood": float(log_likelihood[0] / weight.sum()),
            **(errors.metrics() if errors.weight > 0 else dict.fromkeys(self.names[2:], float("nan"))),
        }
