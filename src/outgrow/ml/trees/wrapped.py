"""A booster in the classes that XGBoost has for scikit-learn."""

from __future__ import annotations

from typing import Any

from outgrow._optional import optional


def wrapped_classifier(content: bytes) -> Any:
    """An `xgboost.XGBClassifier`; its classes are numbers from 0."""
    return _loaded(optional("xgboost", "trees").XGBClassifier(), content)


def wrapped_regressor(content: bytes) -> Any:
    """An `xgboost.XGBRegressor`."""
    return _loaded(optional("xgboost", "trees").XGBRegressor(), content)


def _loaded(model: Any, content: bytes) -> Any:
    model.load_model(bytearray(content))
    return model
