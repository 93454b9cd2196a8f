"""What each transformer is in scikit-learn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import sklearn.decomposition
import sklearn.impute
import sklearn.preprocessing

from outgrow.ml.base import Transformer
from outgrow.ml.decomposition.pca import PCA
from outgrow.ml.export.refusal import refusal, unknown
from outgrow.ml.export.sklearn.flow import Block, Flow
from outgrow.ml.impute.simple_imputer import SimpleImputer
from outgrow.ml.preprocessing.one_hot_encoder import OneHotEncoder
from outgrow.ml.preprocessing.ordinal_encoder import OrdinalEncoder
from outgrow.ml.preprocessing.standard_scaler import StandardScaler


def changed(name: str, step: Transformer, flow: Flow) -> Flow:
    """The flow after a transformer.

    Raises
    ------
    ExportError
        When scikit-learn has no equal.
    """
    change = _CHANGES.get(type(step))
    if change is None:
        raise unknown(step, "scikit-learn")
    return change(name, step, flow) if step.selected_ else flow


def _impute(name: str, step: SimpleImputer, flow: Flow) -> Flow:
    if step.marks:
        raise refusal(
            step,
            f"it has missing_values={step.missing_values!r}, add_indicator={step.add_indicator}.",
            "Leave those out, or keep it with save().",
        )
    words = list(step._words)
    blocks = [_imputer(name, step, flow, step._names, step._values.tolist(), False)] if step._names else []
    if words:
        blocks.append(_imputer(name, step, flow, words, list(step._words.values()), True))
    order = [each for each in flow.columns if each not in step._gone]
    return flow.then(name, flow.beside(step.selected_, blocks), order)


def _imputer(
    name: str, step: SimpleImputer, flow: Flow, names: list[str], values: list[Any], text: bool
) -> Block:
    """An imputer that saw one row: what it is to fill in."""
    odd = [each for each in names if flow.columns[each].text != text]
    if odd:
        raise refusal(step, f"columns {odd} had no value at fit.", "Leave them out, and fit.")
    strategy = step.strategy if step.strategy in ("mean", "median") else "most_frequent"
    imputer = sklearn.impute.SimpleImputer(strategy=strategy)
    if text and flow.frame:
        imputer.set_output(transform="pandas")
    block = flow.block(names, name if not text else f"{name}_text", imputer)
    row = [values]
    tiny = flow.tiny(block.labels, row)
    imputer.fit(tiny.astype(object) if text else tiny)
    block.row = values
    return block


def _scale(name: str, step: StandardScaler, flow: Flow) -> Flow:
    block = flow.block(
        step.selected_,
        name,
        sklearn.preprocessing.StandardScaler(with_mean=step.with_mean, with_std=step.with_std),
    )
    scaler = block.transformer.fit(flow.tiny(block.labels, np.zeros((2, len(block.labels)))))
    scaler.n_samples_seen_ = step.n_samples_seen_
    scaler.mean_, scaler.var_ = step.mean_, step.var_
    scaler.scale_ = step.scale_ if step.with_std else None
    return flow.then(name, flow.beside(step.selected_, [block]), list(flow.columns))


def _project(name: str, step: PCA, flow: Flow) -> Flow:
    least = np.finfo(np.float64).eps
    if step.whiten and (step.explained_variance_ < least).any():
        raise refusal(
            step, "whiten=True with a component without variance.", "Choose a smaller n_components."
        )
    pca = sklearn.decomposition.PCA(n_components=len(step.components_), whiten=step.whiten)
    learned = ("components_", "explained_variance_", "explained_variance_ratio_", "singular_values_", "mean_")
    for attribute in (*learned, "noise_variance_", "n_components_"):
        setattr(pca, attribute, getattr(step, attribute))
    block = flow.block(step.selected_, name, pca)
    pca.n_features_in_ = len(block.labels)
    if flow.frame:
        pca.feature_names_in_ = np.array(block.labels, dtype=object)
    block.makes = [(made, 1) for made in step._output_names]
    return flow.then(name, flow.beside(step.selected_, [block]))


def _number(name: str, step: OrdinalEncoder, flow: Flow) -> Flow:
    blocks = [_ordinal(f"{name}_{column}", step, j, flow) for j, column in enumerate(step.selected_)]
    return flow.then(name, flow.beside(step.selected_, blocks), list(flow.columns))


def _ordinal(name: str, step: OrdinalEncoder, j: int, flow: Flow) -> Block:
    column = step.selected_[j]
    block = flow.block([column], name)
    categories = known(step, column, step.categories_[j], text=block.text)
    few = None if step.infrequent_categories_ is None else step.infrequent_categories_[j]
    seen = _seen(categories, few)
    block.transformer = sklearn.preprocessing.OrdinalEncoder(
        categories=[categories],
        handle_unknown=step.handle_unknown,
        unknown_value=step.unknown_value,
        encoded_missing_value=step.encoded_missing_value,
        min_frequency=None if few is None else 2,
    ).fit(flow.tiny(block.labels, seen[:, None]))
    block.row, block.text = [categories[0]], False
    return block


def _one_hot(name: str, step: OneHotEncoder, flow: Flow) -> Flow:
    wide = step.sparse_output
    frame = any(part.text for column, part in flow.columns.items() if column not in step.selected_)
    blocks, at = [], 0
    for j, column in enumerate(step.selected_):
        block = _hot(f"{name}_{column}", step, j, flow, sparse=wide and not frame)
        count = len(step._columns_of(j)[1])
        labels = step._labels[at : at + count]
        block.makes = [(step.output_name_, count)] if wide else [(label, 1) for label in labels]
        blocks.append(block)
        at += count
    return flow.then(name, flow.beside(step.selected_, blocks))


def _hot(name: str, step: OneHotEncoder, j: int, flow: Flow, *, sparse: bool) -> Block:
    """An encoder that saw its frequent categories twice and those it puts together once."""
    column, few = step.selected_[j], step.infrequent_categories_[j]
    block = flow.block([column], name)
    categories = known(step, column, step.categories_[j], text=block.text)
    encoder = sklearn.preprocessing.OneHotEncoder(
        categories=[categories],
        drop=step.drop if step.drop is None or isinstance(step.drop, str) else [step.drop[j]],
        handle_unknown=step.handle_unknown,
        min_frequency=None if few is None else 2,
        sparse_output=sparse,
    )
    block.transformer = encoder.fit(flow.tiny(block.labels, _seen(categories, few)[:, None]))
    block.row, block.text = [categories[0]], False
    return block


def _seen(categories: np.ndarray, few: np.ndarray | None) -> np.ndarray:
    """Rows in which frequent categories are twice, and those that are put together once."""
    rare = set() if few is None else {_key(word) for word in few.tolist()}
    often = [word for word in categories.tolist() if _key(word) not in rare]
    return np.array([*categories.tolist(), *often], dtype=categories.dtype)


def known(step: Any, column: str, categories: np.ndarray, *, text: bool) -> np.ndarray:
    """Categories as scikit-learn takes them: a missing value is NaN, numbers are float64."""
    if not len(categories):
        raise refusal(step, f"column {column!r} had no value at fit.", "Leave it out, and fit.")
    if not text:
        odd = [word for word in categories.tolist() if _key(word) is not None and float(word) != word]
        if odd:
            raise refusal(
                step,
                f"category {odd[0]!r} of column {column!r} does not fit a float64.",
                "Cast the column to text, and fit.",
            )
        return np.array([np.nan if word is None else word for word in categories.tolist()], dtype=np.float64)
    words = np.empty(len(categories), dtype=object)
    words[:] = [np.nan if _key(word) is None else word for word in categories.tolist()]
    return words


def _key(word: Any) -> Any:
    return None if word != word else word


_CHANGES: dict[type, Callable[[str, Any, Flow], Flow]] = {
    SimpleImputer: _impute,
    StandardScaler: _scale,
    OneHotEncoder: _one_hot,
    OrdinalEncoder: _number,
    PCA: _project,
}
