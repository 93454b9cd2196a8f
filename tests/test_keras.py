"""Models of Keras on its backend torch, as modules."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

import outgrow as og
from outgrow.errors import ArtifactError

os.environ["KERAS_BACKEND"] = "torch"

import keras

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of Keras

random = np.random.default_rng(0)
X = random.normal(size=(400, 3)).astype(np.float32)
Y = (X[:, 0] + X[:, 1] > 0).astype(np.int64)


class Late(keras.Model):  # type: ignore[misc]
    """Without `build`: its layers make their weights when they see rows."""

    def __init__(self, n_features: int, n_outputs: int, width: int = 8) -> None:
        super().__init__()
        self.body = keras.layers.Dense(width, activation="relu")
        self.drop = keras.layers.Dropout(0.2)
        self.head = keras.layers.Dense(n_outputs)

    def call(self, inputs: Any, training: Any = None) -> Any:
        return self.head(self.drop(self.body(inputs), training=training))


def test_a_class_learns_is_saved_and_answers_alike(tmp_path: Path) -> None:
    """Each copy of a model gives the states of its Dropout other names."""
    options = {"lr": 0.05, "max_epochs": 12, "batch_size": 64, "random_state": 3}
    model = og.TorchClassifier(Late, module__width=6, **options).fit(X, Y)
    assert model.score(X, Y) > 0.9
    assert model.train_loss_[-1] < 0.6 * model.train_loss_[0]
    chances = model.predict_proba(X)
    again = og.TorchClassifier(Late, module__width=6, **options).fit(X, Y)
    np.testing.assert_array_equal(again.predict_proba(X), chances)
    model.save(tmp_path / "net")
    np.testing.assert_allclose(og.load(tmp_path / "net").predict_proba(X), chances, atol=1e-5)


def test_a_model_that_is_made_already_is_copied_and_exported(tmp_path: Path) -> None:
    inputs = keras.Input((3,))
    hidden = keras.layers.Dropout(0.1)(keras.layers.Dense(8, activation="relu")(inputs))
    outputs = keras.layers.Dense(2)(keras.layers.Concatenate()([hidden, inputs]))
    made = keras.Model(inputs, outputs)
    before = [weight.value.detach().numpy().copy() for weight in made.weights]
    model = og.TorchClassifier(made, lr=0.02, max_epochs=6, batch_size=64, random_state=0).fit(X, Y)
    assert model.score(X, Y) > 0.9
    for old, new in zip(before, made.weights, strict=True):
        np.testing.assert_array_equal(new.value.detach().numpy(), old)
    with torch.no_grad():
        logits = model.module_(torch.from_numpy(X), training=False).numpy()
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.predict_proba(X), shares, atol=1e-6)
    model.to_onnx(tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    given = {put.name: X[:, [n]].astype(np.float64) for n, put in enumerate(session.get_inputs())}
    label = session.run(None, given)[0].ravel()
    np.testing.assert_array_equal(label, model.predict(X))
    with pytest.raises(ArtifactError, match="Give its class as the module"):
        model.save(tmp_path / "net")
