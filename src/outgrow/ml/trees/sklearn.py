"""Trees in the classes that XGBoost has for scikit-learn, in a pipeline of it."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from outgrow._optional import optional
from outgrow.ml.core.exports import refusal
from outgrow.ml.export.sklearn.categories import known
from outgrow.ml.export.sklearn.flow import Block, Flow
from outgrow.ml.export.sklearn.twin import twin
from outgrow.ml.trees.exports import check_exportable


def boosted_classifier(model: Any) -> Any:
    """XGBoost's own, which numbers the classes; a vote of one gives them other names."""
    check_exportable(model)
    if model.loss == "exponential":
        raise refusal(model, "XGBoost has no loss='exponential'.", "Fit it with loss='log_loss'.")
    made = _loaded(optional("xgboost", "trees").XGBClassifier(), model.booster_bytes_)
    if model.classes_.tolist() == list(range(len(model.classes_))):
        return made
    vote = twin("ensemble.VotingClassifier", [("xgboost", made)], voting="soft")
    vote.estimators_ = [made]
    vote.le_ = twin("preprocessing.LabelEncoder").fit(model.classes_)
    vote.classes_ = vote.le_.classes_
    return vote


def scaled_regressor(model: Any) -> Any:
    """XGBoost's own for what the trees add to the mean, in a regressor that scales it and adds the mean."""
    check_exportable(model)
    made = _loaded(optional("xgboost", "trees").XGBRegressor(), model.booster_bytes_)
    offset, scale = float(model.offset_), float(model.scale_)
    outer = twin(
        "compose.TransformedTargetRegressor",
        twin("dummy.DummyRegressor"),
        func=np.polynomial.Polynomial([-offset / scale, 1 / scale]),
        inverse_func=np.polynomial.Polynomial([offset, scale]),
        check_inverse=False,
    ).fit(np.zeros((1, model.n_features_)), np.zeros(1))
    outer.set_params(regressor=made)
    outer.regressor_ = made
    return outer


def tree_features(model: Any, flow: Flow) -> Flow:
    """The flow with the features of trees, in their order; text as trees know it.

    Parameters
    ----------
    model : fitted; its `features_` are put in order.
    flow : the steps and columns so far.
    """
    if not model.features_:
        return flow
    codes = {name: _codes(model, name, flow) for name in model.features_ if name in model.categories_}
    flow = flow.in_order(model.features_, codes)
    if not model.zeros_absent_:
        return flow
    absent = FunctionTransformer(sp.csr_matrix, accept_sparse=True)
    steps = [("zeros_absent", absent)]
    if model.zeros_ is not None:  # what is no zero yet is stored, and becomes one as float32
        dense = FunctionTransformer(sp.csr_matrix.toarray, accept_sparse=True)
        number = FunctionTransformer(partial(np.add, np.where(model.zeros_, 1e-300, 0.0)[None, :]))
        steps = [("sparse", absent), ("dense", dense), ("zeros_stored", number), *steps]
    return Flow(flow.columns, False, flow.width, [*flow.steps, *steps])


def _codes(model: Any, name: str, flow: Flow) -> Block:
    """1, 2, ... for the categories of a column, NaN for other values."""
    text = flow.columns[name].text
    categories = known(model, name, np.array(model.categories_[name], dtype=object), text=text)
    block = flow.block([name], name)
    unknown = {"handle_unknown": "use_encoded_value", "unknown_value": np.nan}
    encoder = twin("preprocessing.OrdinalEncoder", categories=[categories], **unknown)
    block.transformer = make_pipeline(
        encoder, FunctionTransformer(partial(np.add, 1.0), feature_names_out="one-to-one")
    )
    block.transformer.fit(flow.tiny(block.labels, categories[:1, None]))
    block.row, block.text = [categories[0]], False
    return block


def _loaded(model: Any, content: bytes) -> Any:
    model.load_model(bytearray(content))
    return model
