"""What each prediction of a model costs, row by row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.base import is_classifier

from outgrow.data.batch import Batch
from outgrow.errors import ParameterError
from outgrow.ml.predictor import Predictor
from outgrow.monitor.labels import class_places, strangers

OF_CHANCES, OF_CLASSES, OF_NUMBERS = ("log_loss", "brier"), ("error_rate",), ("mse", "mae")


def check_metric(predictor: Predictor, metric: str, version: object) -> None:
    """Refuse a metric that says nothing of a model.

    Parameters
    ----------
    predictor : the model.
    metric : as policies name it.
    version : how the model is called.

    Raises
    ------
    ParameterError
        With those that do.
    """
    if predictor.targets is not None:
        raise ParameterError(
            f"Version {version} predicts {predictor.targets} targets; the loop compares one."
        )
    if not is_classifier(predictor.model):
        taken: tuple[str, ...] = OF_NUMBERS
    else:
        taken = (*OF_CHANCES, *OF_CLASSES) if predictor.gives("predict_proba") else OF_CLASSES
    if metric not in taken:
        raise ParameterError(
            f"{metric} says nothing of version {version}, a {type(predictor.model).__name__}. "
            f"Choose {' or '.join(taken)}."
        )


def losses(
    predictor: Predictor, batch: Batch, labels: pa.Array, metric: str
) -> tuple[np.ndarray, np.ndarray]:
    """The loss of each row, and what was predicted.

    Parameters
    ----------
    predictor : the model.
    batch : rows with its columns.
    labels : what is true; a class that the model does not know is one it gave no chance.
    metric : as policies name it.

    Raises
    ------
    DataError
        When so many labels are no class of the model that they must be written another way.
    """
    if metric in OF_NUMBERS:
        predicted = predictor.answer(batch)
        error = predicted - labels.cast(pa.float64()).to_numpy(zero_copy_only=False)
        return (error * error if metric == "mse" else np.abs(error)), predicted
    classes = predictor.classes or []
    truth = codes(labels, classes)
    strangers(labels, truth, classes)
    rows = np.arange(len(truth))
    if metric == "error_rate":
        predicted = predictor.answer(batch)
        chosen = codes(pa.array(predicted), classes)
        return (chosen != truth).astype(np.float64), chosen
    chances = predictor.answer(batch, "predict_proba")
    chosen = chances.argmax(axis=1)
    of_truth = np.where(truth >= 0, chances[rows, np.maximum(truth, 0)], 0.0)
    if metric == "log_loss":
        eps = np.finfo(np.float64).eps
        return -np.log(np.clip(of_truth, eps, 1 - eps)), chosen
    brier = (chances**2).sum(axis=1) - 2 * of_truth + 1.0  # sum over classes of (p - 1[y])²
    return brier / 2, chosen  # of two classes, (p - y)² of the second, as scikit-learn has it


def codes(labels: Any, classes: list[Any]) -> np.ndarray:
    """The place of each label among the classes, -1 for a stranger.

    Parameters
    ----------
    labels : Arrow array.
    classes : of the model.
    """
    return class_places(labels, classes)
