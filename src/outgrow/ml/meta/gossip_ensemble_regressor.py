"""Regressors that each learned from the rows of one rank, asked together."""

from __future__ import annotations

from typing import Any

import numpy as np

from outgrow.engine.matrix import MatrixView
from outgrow.ml.base import Regressor
from outgrow.ml.linear_model.ridge import Ridge
from outgrow.ml.meta.gossip import AVERAGE, PARAMETERS, Gossip
from outgrow.ml.meta.stacking import VALUES
from outgrow.ml.meta.stacking_regressor import StackingRegressor
from outgrow.ml.meta.voting_regressor import VotingRegressor
from outgrow.ml.meta.whole_pipeline import as_model


class GossipEnsembleRegressor(Gossip, Regressor):
    """Let each rank learn a regressor from its own rows; all then know all of them.

    Parameters
    ----------
    estimator : the regressor.
    combine : 'average' for the mean of the predictions, 'stack' for a last regressor that learns over all
        ranks from what the members say of rows held out.
    members : None for one for each rank that has rows; a number for so many, to which rows are dealt by their
        hashes.
    weights : 'rows' for what the rows of each member weigh, 'equal' for the same of all; of averages.
    final_estimator : the last regressor; None for `Ridge`.
    holdout : with 'stack', the share of the rows that the last regressor learns from, by their hashes.
    random_state : seed of the choices of rows; None means 0.

    Attributes
    ----------
    estimators_ : list of the members.
    weights_ : ndarray of shape (members,): what each counts in an average; they sum to 1.
    ranks_ : ndarray of the ranks of the members; empty where rows were dealt.

    Notes
    -----
    With `members=None` who holds which rows decides what comes of it: one rank gives the plain model, and
    more ranks another one. That is what it is for, as no row and no statistic of rows leaves a rank but its
    model; every other estimator gives one result on any engine. With a number of members this does, too, and
    they learn in passes that all ranks share.

    The members cross the network once, whole. A tree says where values of its rank lie, so a federated site
    lets its model go with `allow_values=["SiteModels"]` alone, and never one that keeps rows, such as
    nearest neighbours.

    Accuracy falls the more unlike the rows of the ranks are, and the fewer each has (`docs/strategies.md`).

    References
    ----------
    Ting and Witten (1997), Stacking bagged and dagged models, whose dagging members of dealt rows are.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.random.default_rng(0).normal(size=(300, 2))
    >>> model = og.GossipEnsembleRegressor(og.LinearRegression(), members=3).fit(X, X @ [1.0, 2.0])
    >>> model.predict([[1.0, 1.0]]).round(6).tolist()
    [3.0]
    """

    test_parameters = {"estimator": Ridge(), "members": 3}
    parameters = PARAMETERS

    def __init__(
        self,
        estimator: Any,
        *,
        combine: str = AVERAGE,
        members: int | None = None,
        weights: str = "rows",
        final_estimator: Any = None,
        holdout: float = 0.2,
        random_state: Any = None,
    ) -> None:
        self.estimator = estimator
        self.combine = combine
        self.members = members
        self.weights = weights
        self.final_estimator = final_estimator
        self.holdout = holdout
        self.random_state = random_state

    def _fit(self, view: MatrixView) -> None:
        self._learn(view)

    def _combination(self, parts: Any) -> Any:
        made: Any
        if self.combine == AVERAGE:
            made = VotingRegressor(self._pairs(), weights=self.weights_.tolist())
        else:
            last = Ridge() if self.final_estimator is None else as_model(self.final_estimator)
            made = StackingRegressor(self._pairs(), last)
            made.stack_method_ = [VALUES] * len(parts)
        return self._filled(made, parts)

    def _predict(self, X: Any) -> np.ndarray:
        return np.asarray(self._combined._predict(X))
