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


def sklearn_tree(model: Any, criterion: str) -> Any:
    """scikit-learn's own tree with the nodes of a fitted one.

    Parameters
    ----------
    model : a decision tree of one target.
    criterion : with which it was grown.

    Raises
    ------
    ExportError
        When it splits on categories, its rows were sparse, or XGBoost grew a tree for each class.
    """
    check_exportable(model)
    if model.zeros_absent_:
        raise refusal(model, "zeros of sparse rows are missing values to it.", "Fit it with dense rows.")
    tree = getattr(model, "tree_", None)
    if tree is None or tree.sets:
        fact = "it splits on sets of categories." if tree else "each of its classes has a tree of its own."
        raise refusal(model, fact, "Encode categories as numbers before it.")
    classes = getattr(model, "classes_", None)
    made = twin(f"tree.DecisionTree{'Regressor' if classes is None else 'Classifier'}", criterion=criterion)
    count = 1 if classes is None else len(classes)
    made.n_features_in_, made.n_outputs_, made.n_classes_ = model.n_features_, 1, count
    made.max_features_ = model.max_features_
    if classes is not None:
        made.classes_ = classes
    values = tree.value * np.asarray(model.scale_ if classes is None else 1.0)
    values = values + (model.offset_ if classes is None else 0.0)
    made.tree_ = _filled(tree, model.n_features_, count, values, criterion)
    return made


def _filled(tree: Any, width: int, classes: int, values: np.ndarray, criterion: str) -> Any:
    """scikit-learn's nodes."""
    made = twin("tree._tree.Tree", width, np.array([classes], dtype=np.intp), 1)
    state = made.__getstate__()
    nodes = np.zeros(tree.node_count, dtype=state["nodes"].dtype)
    nodes["left_child"], nodes["right_child"] = tree.children_left, tree.children_right
    for name in ("feature", "threshold", "n_node_samples", "weighted_n_node_samples", "missing_go_to_left"):
        nodes[name] = getattr(tree, name)
    shares = values[:, 0]
    if classes > 1 and criterion == "gini":
        nodes["impurity"] = 1 - (shares**2).sum(axis=1)
    elif classes > 1:
        nodes["impurity"] = -(shares * np.log2(np.where(shares > 0, shares, 1.0))).sum(axis=1)
    else:
        nodes["impurity"] = np.nan  # the tree keeps means, no squares
    made.__setstate__(
        {**state, "max_depth": tree.max_depth, "node_count": len(nodes), "nodes": nodes, "values": values}
    )
    return made


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
