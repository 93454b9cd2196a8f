"""A fitted estimator as a fitted object of scikit-learn."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.pipeline import Pipeline as SkPipeline
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.preprocessing import OrdinalEncoder as SkOrdinalEncoder

from outgrow.data.kind import NUMBER
from outgrow.ml.base import Estimator, Model, Transformer
from outgrow.ml.export.sklearn.flow import Block, Flow, opened
from outgrow.ml.export.sklearn.models import made
from outgrow.ml.export.sklearn.steps import changed, known
from outgrow.ml.pipeline import Pipeline
from outgrow.ml.trees.base import TreeModel


def equal(estimator: Estimator) -> Any:
    """The equal of a fitted estimator; see `Estimator.to_sklearn`."""
    named = _steps(estimator) if isinstance(estimator, Pipeline) else [_own(estimator)]
    last_name, last = named[-1]
    model = made(last) if isinstance(last, Model) else None
    if len(named) == 1 and _takes_all(estimator):
        return _alone(estimator, model)
    flow = opened(estimator, steps=True)
    for name, step in named:
        if isinstance(step, Transformer):
            flow = changed(name, step, flow)
    if isinstance(last, Model):
        flow = _features(last, flow)
        _saw(model, flow.width)
        flow.steps.append((last_name, model))
    else:
        flow = _in_order(list(flow.columns), flow)
    return flow.steps[0][1] if len(flow.steps) == 1 else SkPipeline(flow.steps)


def _steps(pipeline: Pipeline) -> list[tuple[str, Any]]:
    """The steps, those of inner pipelines among them, by names as scikit-learn allows them."""
    return [(name.replace("__", "-"), step) for name, step in pipeline.active_steps]


def _own(estimator: Estimator) -> tuple[str, Estimator]:
    return type(estimator).__name__.lower(), estimator


def _takes_all(estimator: Estimator) -> bool:
    """Whether a model takes the columns as they are: numbers, or whatever it may be."""
    numbers = all(kind == NUMBER for kind in estimator.columns_.values())
    return (
        isinstance(estimator, Model)
        and not isinstance(estimator, TreeModel)
        and (numbers or not estimator.features_)
    )


def _alone(estimator: Estimator, model: Any) -> Any:
    _saw(model, len(estimator.columns_))
    if hasattr(estimator, "feature_names_in_"):
        model.feature_names_in_ = estimator.feature_names_in_
    return model


def _saw(model: Any, width: int) -> None:
    """Note how many features a model was made for; XGBoost's know it by themselves."""
    if not hasattr(model, "n_features_in_"):
        model.n_features_in_ = width


def _features(model: Model, flow: Flow) -> Flow:
    """The flow with the features of a model, in its order."""
    if not model.features_:
        return flow
    if not isinstance(model, TreeModel):
        return _in_order(model.features_, flow)
    flow = _in_order(model.features_, flow, model)
    if not model.zeros_absent_:
        return flow
    absent = FunctionTransformer(sp.csr_matrix, accept_sparse=True)
    steps = [("zeros_absent", absent)]
    if model.zeros_ is not None:  # what is no zero yet is stored, and becomes one as float32
        dense = FunctionTransformer(sp.csr_matrix.toarray, accept_sparse=True)
        number = FunctionTransformer(partial(np.add, np.where(model.zeros_, 1e-300, 0.0)[None, :]))
        steps = [("sparse", absent), ("dense", dense), ("zeros_stored", number), *steps]
    return Flow(flow.columns, False, flow.width, [*flow.steps, *steps])


def _in_order(names: list[str], flow: Flow, trees: TreeModel | None = None) -> Flow:
    """The flow with these columns in this order; text as trees know it."""
    if not flow.frame and flow.labels(names) == list(range(flow.width)):
        return flow
    blocks: list[Block] = []
    for name in names:
        if trees is not None and name in trees.categories_:
            blocks.append(_codes(trees, name, flow))
        elif blocks and blocks[-1].name == "passthrough":
            blocks[-1] = flow.block([*(made for made, _ in blocks[-1].makes), name])
        else:
            blocks.append(flow.block([name]))
    return flow.then("features", blocks)


def _codes(trees: TreeModel, name: str, flow: Flow) -> Block:
    """1, 2, ... for the categories of a column, NaN for other values."""
    text = flow.columns[name].text
    categories = known(trees, name, np.array(trees.categories_[name], dtype=object), text=text)
    block = flow.block([name], name)
    encoder = SkOrdinalEncoder(
        categories=[categories], handle_unknown="use_encoded_value", unknown_value=np.nan
    )
    block.transformer = make_pipeline(
        encoder, FunctionTransformer(partial(np.add, 1.0), feature_names_out="one-to-one")
    )
    block.transformer.fit(flow.tiny(block.labels, categories[:1, None]))
    block.row, block.text = [categories[0]], False
    return block
