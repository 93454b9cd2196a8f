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
from outgrow.deep.keras_modules import answer_of, keep_states
from outgrow.deep.loop import begin_training
from outgrow.deep.replica import Replica, replica_of
from outgrow.deep.snapshot import restore_snapshot, snapshot_of
from outgrow.errors import ArtifactError, ParameterError

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


class Normal(keras.Model):  # type: ignore[misc]
    """Without a `training` of its own: its layers are told all the same."""

    def __init__(self, n_features: int, n_outputs: int) -> None:
        super().__init__()
        self.normal = keras.layers.BatchNormalization(momentum=0.5)
        self.drop = keras.layers.Dropout(0.5, seed=7)  # without a seed torch draws, as elsewhere
        self.head = keras.layers.Dense(n_outputs)

    def call(self, inputs: Any) -> Any:
        return self.head(self.drop(self.normal(inputs)))


def moving(model: Any) -> list[np.ndarray]:
    """The running mean and variance."""
    normal = model.module_.normal
    return [variable.value.numpy() for variable in (normal.moving_mean, normal.moving_variance)]


def test_layers_learn_while_the_network_does(tmp_path: Path) -> None:
    options = {"lr": 0.02, "max_epochs": 4, "batch_size": 64, "random_state": 3}
    model = og.TorchClassifier(Normal, **options).fit(3 * X + 5, Y)
    mean, variance = moving(model)
    np.testing.assert_allclose(mean, 5 + 3 * X.mean(axis=0), atol=1.0)
    np.testing.assert_allclose(variance, 9 * X.var(axis=0), rtol=0.4)
    twice = [model.predict_proba(X) for _ in range(2)]
    np.testing.assert_array_equal(*twice)  # nothing is dropped now
    model.save(tmp_path / "net")
    answers = og.load(tmp_path / "net").predict_proba(3 * X + 5)
    np.testing.assert_allclose(answers, model.predict_proba(3 * X + 5), atol=1e-5)
    model.to_onnx(tmp_path / "net.onnx")  # which a class without `get_config` could not be copied for
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    rows = (3 * X + 5).astype(np.float64)
    given = {put.name: rows[:, [n]] for n, put in enumerate(session.get_inputs())}
    np.testing.assert_array_equal(session.run(None, given)[0].ravel(), model.predict(rows))


def test_running_means_stay_with_the_best_epoch() -> None:
    options = {"lr": 0.3, "batch_size": 64, "early_stopping": True, "n_iter_no_change": 2, "random_state": 1}
    targets = np.random.default_rng(1).integers(0, 2, len(Y))  # of which there is nothing to learn
    stopped = og.TorchClassifier(Normal, max_epochs=6, **options).fit(3 * X + 5, targets)
    assert stopped.best_epoch_ < stopped.n_iter_ - 1
    again = og.TorchClassifier(Normal, max_epochs=stopped.best_epoch_ + 1, **options).fit(3 * X + 5, targets)
    assert again.best_epoch_ == stopped.best_epoch_
    for kept, made in zip(moving(stopped), moving(again), strict=True):
        np.testing.assert_array_equal(kept, made)


def test_a_snapshot_holds_running_means_and_seeds() -> None:
    """A fit that goes on from it drops and normalises as one without a break."""

    def replica() -> Replica:
        net = Normal(3, 2)
        net(torch.zeros(2, 3))
        keep_states(net)
        return replica_of(net, "SGD", {}, lr=0.1)

    rows = torch.from_numpy(3 * X + 5)
    first, second = replica(), replica()
    begin_training(first.module)
    answer_of(first.module, rows)
    restore_snapshot(second, snapshot_of(first, {}))
    begin_training(second.module)
    for _ in range(2):
        one, other = (answer_of(part.module, rows).detach() for part in (first, second))
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_penalties_of_layers_are_in_the_loss() -> None:
    def fitted(penalty: float) -> Any:
        layer = keras.layers.Dense(2, kernel_regularizer=keras.regularizers.L2(penalty))
        made = keras.Sequential([keras.Input((3,)), layer])
        return og.TorchClassifier(made, lr=0.05, max_epochs=30, batch_size=64, random_state=0).fit(X, Y)

    assert abs(fitted(10.0).weights_["0"]).max() < 0.1 < 1.0 < abs(fitted(0.0).weights_["0"]).max()


def test_layers_that_do_not_learn_keep_their_numbers() -> None:
    normal = keras.layers.BatchNormalization()
    made = keras.Sequential([keras.Input((3,)), normal, keras.layers.Dense(2)])
    normal.trainable = False
    model = og.TorchClassifier(made, max_epochs=2, random_state=0).fit(3 * X + 5, Y)
    np.testing.assert_array_equal(model.weights_["2"], np.zeros(3))


class Unknown(keras.layers.Layer):  # type: ignore[misc]
    def call(self, inputs: Any) -> Any:
        return inputs


def test_a_model_that_cannot_be_copied_says_so() -> None:
    inputs = keras.Input((3,))
    made = keras.Model(inputs, keras.layers.Dense(2)(Unknown()(inputs)))
    with pytest.raises(ParameterError, match=r"this Functional cannot be copied: .*Give its class"):
        og.TorchClassifier(made, max_epochs=1).fit(X, Y)
