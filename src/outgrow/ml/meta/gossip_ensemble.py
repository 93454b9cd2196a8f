"""Ensembles of the models of ranks, by what the model within predicts."""

from __future__ import annotations

from typing import Any

from sklearn.base import is_classifier

from outgrow.ml.meta.gossip_ensemble_classifier import GossipEnsembleClassifier
from outgrow.ml.meta.gossip_ensemble_regressor import GossipEnsembleRegressor
from outgrow.ml.meta.whole_pipeline import as_model


def gossip_ensemble(estimator: Any, **settings: Any) -> Any:
    """A `GossipEnsembleClassifier` or a `GossipEnsembleRegressor`, as the model within is one or the other.

    Parameters
    ----------
    estimator : a model of outgrow, or a pipeline that ends in one.
    **settings : as of those classes.

    Examples
    --------
    >>> import outgrow as og
    >>> og.GossipEnsemble(og.Ridge(), members=4)
    GossipEnsembleRegressor(estimator=Ridge(), members=4)
    """
    kind = GossipEnsembleClassifier if is_classifier(as_model(estimator)) else GossipEnsembleRegressor
    return kind(estimator, **settings)


GossipEnsemble = gossip_ensemble
