"""Classifiers that each learned from the rows of one rank, asked together."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import clone

from outgrow.engine.matrix import MatrixView
from outgrow.errors import ParameterError
from outgrow.ml.base import ProbabilityClassifier
from outgrow.ml.linear_model.logistic_regression import LogisticRegression
from outgrow.ml.meta.gossip import AVERAGE, PARAMETERS, Gossip
from outgrow.ml.meta.several import weights_of_codes
from outgrow.ml.meta.spread import Spread
from outgrow.ml.meta.stacking_classifier import StackingClassifier
from outgrow.ml.meta.voting_classifier import SOFT, VotingClassifier
from outgrow.ml.meta.whole_pipeline import as_model


class GossipEnsembleClassifier(Gossip, ProbabilityClassifier):
    """Let each rank learn a classifier from its own rows; all then know all of them.

    Parameters
    ----------
    estimator : the classifier.
    combine : 'average' for the mean of the probabilities, or of the votes of classifiers without; 'stack' for
        a last classifier that learns over all ranks from what the members say of rows held out.
    members : None for one for each rank that has rows of two classes; a number for so many, to which rows are
        dealt by their hashes, class by class; all learn from the rows of classes that have too few for each.
    weights : 'rows' for what the rows of each member weigh, 'equal' for the same of all; of averages.
    final_estimator : the last classifier, which has probabilities; None for `LogisticRegression`.
    holdout : with 'stack', the share of the rows that the last classifier learns from, by their hashes.
    random_state : seed of the choices of rows; None means 0.

    Attributes
    ----------
    classes_ : ndarray of the classes, sorted.
    estimators_ : list of the members, which know the classes that they met as 0, 1 and so on.
    member_classes_ : list of ndarrays: which of the classes, by their places, those of each member are.
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
    >>> model = og.GossipEnsembleClassifier(og.LogisticRegression(), members=3).fit(X, X[:, 0] > 0)
    >>> model.score(X, X[:, 0] > 0) > 0.95, model.weights_.round(2).tolist()
    (True, [0.33, 0.33, 0.33])
    """

    test_parameters = {"estimator": LogisticRegression(), "members": 3}
    parameters = PARAMETERS

    member_classes_: list[np.ndarray]

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

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if self._final is not None and not hasattr(self._final, "_predict_proba"):
            raise ParameterError(
                f"{type(self).__name__}(final_estimator=...): {type(self._final).__name__} has no "
                "predict_proba. Choose another, such as LogisticRegression."
            )

    # ---- learn -------------------------------------------------------------------------------------------

    def _fit(self, view: MatrixView) -> None:
        codes = np.arange(self._learn_classes(view))
        self._learn(view.with_classes(codes, codes))

    def _own_rows(self, view: MatrixView) -> tuple[MatrixView | None, dict[str, Any]]:
        there = view.class_weights > 0
        about = {"classes": np.flatnonzero(there)}
        if there.sum() < 2:
            return None, about
        if there.all():
            return view, about
        return view.with_classes(np.where(there, np.cumsum(there) - 1, -1), np.arange(there.sum())), about

    def _member(self, about: dict[str, Any]) -> Any:
        part = self._new_part()
        codes = about.get("classes", np.arange(len(self.classes_)))
        changed = weights_of_codes(part, self.classes_.tolist())
        places = {int(code): place for place, code in enumerate(codes)}
        for name, weights in changed.items():
            changed[name] = {places[code]: weight for code, weight in weights.items() if code in places}
        if changed:  # of its own, as members share what is within them
            own = {k: clone(v) for k, v in part.get_params(deep=False).items() if hasattr(v, "get_params")}
            part.set_params(**own).set_params(**changed)
        return part

    def _note(self, about: list[dict[str, Any]]) -> None:
        every = np.arange(len(self.classes_))
        self.member_classes_ = [np.asarray(member.get("classes", every)) for member in about]

    # ---- answer ------------------------------------------------------------------------------------------

    def _combination(self, parts: Any) -> Any:
        several = len(self.classes_)
        parts = [
            part
            if len(codes) == several and hasattr(part, "_predict_proba")
            else Spread(part, codes, several)
            for part, codes in zip(parts, self.member_classes_, strict=True)
        ]
        made: Any
        if self.combine == AVERAGE:
            made = VotingClassifier(self._pairs(), voting=SOFT, weights=self.weights_.tolist())
        else:
            last = LogisticRegression() if self.final_estimator is None else as_model(self.final_estimator)
            made = StackingClassifier(self._pairs(), last, stack_method="predict_proba")
            made.stack_method_ = ["predict_proba"] * len(parts)
        made.classes_ = self.classes_
        return self._filled(made, parts)

    def _predict_proba(self, X: Any) -> np.ndarray:
        return np.asarray(self._combined._predict_proba(X))
