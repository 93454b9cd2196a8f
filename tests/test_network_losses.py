"""Losses of torch.nn get the targets that they mean, and fits with warm_start the columns of the last one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch

import outgrow as og
from outgrow.errors import ArtifactError, DataError, ParameterError

random = np.random.default_rng(0)
X = random.normal(size=(300, 3))
CLASSES = (X[:, 0] > 0).astype(int)
COUNTS = random.poisson(np.exp(X[:, 0]))
QUICK: dict[str, Any] = {"lr": 0.02, "max_epochs": 8, "batch_size": 64, "random_state": 0}


def test_soft_margins_are_those_of_signs() -> None:
    """The loss is the logistic one with targets -1 and 1: the same network as with 0 and 1 there."""
    model = og.TorchClassifier(criterion="SoftMarginLoss", **QUICK).fit(X, np.array(["no", "yes"])[CLASSES])
    assert model.score(X, np.array(["no", "yes"])[CLASSES]) > 0.95
    logistic = og.TorchClassifier(criterion="BCEWithLogitsLoss", **QUICK).fit(X, CLASSES)
    np.testing.assert_allclose(model.predict_proba(X), logistic.predict_proba(X), atol=1e-4)
    np.testing.assert_allclose(model.train_loss_, logistic.train_loss_, rtol=1e-4)


def test_signs_of_the_user_stay() -> None:
    """Where the targets are numbers they are what the user gave."""
    signs = 2.0 * CLASSES - 1
    model = og.TorchModule(criterion="SoftMarginLoss", **QUICK).fit(X, signs)
    assert (np.sign(model.predict(X)) == signs).mean() > 0.95


def test_numbers_that_are_no_logarithms_of_probabilities() -> None:
    with pytest.raises(
        DataError, match=r"logarithms of probabilities, as LogSoftmax gives, and .* is above 0"
    ):
        og.TorchClassifier(criterion="NLLLoss", **QUICK).fit(X, CLASSES)
    net = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LogSoftmax(1))
    assert (
        og.TorchClassifier(net, criterion="NLLLoss", **{**QUICK, "lr": 0.2}).fit(X, CLASSES).score(X, CLASSES)
        > 0.95
    )


@pytest.mark.parametrize("log_input", [True, False])
def test_counts_are_predicted_as_counts(log_input: bool, tmp_path: Path) -> None:
    module: Any = "mlp"
    if not log_input:
        module = torch.nn.Sequential(torch.nn.Linear(3, 1), torch.nn.Softplus())
    options = {
        **QUICK,
        "lr": 0.005 if log_input else 0.1,
        "max_epochs": 40,
        "criterion": "PoissonNLLLoss",
        "criterion__log_input": log_input,
    }
    model = og.TorchRegressor(module, **options).fit(X, COUNTS)
    answers = model.predict(X)
    assert answers.min() >= 0
    assert abs(answers.mean() / COUNTS.mean() - 1) < 0.25
    model.save(tmp_path / "net")
    np.testing.assert_allclose(og.load(tmp_path / "net").predict(X), answers, rtol=1e-5)
    model.to_onnx(tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    given = {put.name: X[:, [n]] for n, put in enumerate(session.get_inputs())}
    np.testing.assert_allclose(session.run(None, given)[0].ravel(), answers, rtol=1e-5)


def test_losses_of_one_tensor_do_not_take_several() -> None:
    class Two(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = torch.nn.Linear(3, 2)

        def forward(self, rows: Any) -> Any:
            return [self.body(rows), self.body(rows)]

    with pytest.raises(DataError, match="MSELoss does not take the module's outputs list"):
        og.TorchModule(Two, max_epochs=1).fit(X, X[:, :2])


FRAME = pd.DataFrame(X, columns=["a", "b", "c"]).assign(t=np.array(["u", "v"])[CLASSES])


@pytest.mark.parametrize(
    ("rows", "target", "message"),
    [
        (FRAME, np.array(["no", "or"])[CLASSES], "the classes of the target are no, or, .*had no, yes"),
        (FRAME[["c", "b", "a", "t"]], None, "the columns are c, b, a, t, and the last fit had a, b, c, t"),
        (FRAME.assign(t=np.array(["v", "w"])[CLASSES]), None, "the values of 't' are v, w, .*had u, v"),
    ],
)
def test_a_fit_that_goes_on_has_the_places_of_the_last(rows: Any, target: Any, message: str) -> None:
    before = np.array(["no", "yes"])[CLASSES]
    model = og.TorchClassifier(warm_start=True, max_epochs=1, random_state=0).fit(FRAME, before)
    with pytest.raises(ParameterError, match=f"warm_start=True.: {message}"):
        model.fit(rows, before if target is None else target)


@pytest.mark.filterwarnings("ignore:MLPClassifier. 2 epochs ended before")
def test_perceptrons_without_torch_go_on_alike() -> None:
    model = og.MLPClassifier(warm_start=True, solver="adam", max_iter=2, random_state=0)
    model.fit(FRAME[["a", "b"]], CLASSES).fit(FRAME[["a", "b"]], CLASSES)
    with pytest.raises(ParameterError, match="the classes of the target are 1, 2, and the last fit had 0, 1"):
        model.fit(FRAME[["a", "b"]], CLASSES + 1)
    with pytest.raises(ParameterError, match="the columns are b, a, and the last fit had a, b"):
        model.fit(FRAME[["b", "a"]], CLASSES)


class Lazy(torch.nn.Module):
    def __init__(self, n_outputs: int) -> None:
        super().__init__()
        self.n_outputs = n_outputs
        self.body = torch.nn.LazyLinear(4)
        self.head = torch.nn.Linear(4, n_outputs)

    def forward(self, rows: Any) -> Any:
        return self.head(torch.tanh(self.body(rows)))


def test_lazy_layers_are_frozen_go_on_and_are_saved(tmp_path: Path) -> None:
    frozen = og.TorchClassifier(Lazy, frozen=["body"], warm_start=True, **QUICK).fit(X, CLASSES)
    before = frozen.weights_["body.weight"]
    frozen.fit(X, CLASSES)
    np.testing.assert_array_equal(frozen.weights_["body.weight"], before)
    net = torch.nn.Sequential(torch.nn.LazyLinear(4), torch.nn.ReLU(), torch.nn.LazyLinear(2))
    made = og.TorchClassifier(net, **QUICK).fit(X, CLASSES)
    made.save(tmp_path / "net")
    again = og.load(tmp_path / "net")
    np.testing.assert_allclose(again.predict_proba(X), made.predict_proba(X), atol=1e-5)
    np.testing.assert_array_equal(again.module_[0].weight.detach(), made.weights_["0.weight"])


class Extra(torch.nn.Linear):
    def get_extra_state(self) -> Any:
        return {"seen": 1}


@pytest.mark.parametrize(
    ("module", "kind", "message"),
    [
        (Extra(3, 2), ParameterError, "has a dict as '_extra_state', and a network keeps real numbers"),
        (torch.nn.Linear(3, 2).double(), DataError, "torch.float64, and rows float32: give module.float()"),
    ],
)
def test_modules_that_cannot_learn_say_so_before(module: Any, kind: type, message: str) -> None:
    with pytest.raises(kind, match=message):
        og.TorchClassifier(module, max_epochs=1).fit(X, CLASSES)


def test_numbers_of_numpy_and_tensors_as_parameters_are_saved(tmp_path: Path) -> None:
    model = og.TorchClassifier(
        module__hidden=(np.int64(4), np.int32(3)), criterion__weight=torch.ones(2), **QUICK
    )
    model.fit(X, CLASSES).save(tmp_path / "net")
    again = og.load(tmp_path / "net")
    assert again.get_params()["criterion__weight"] == [1.0, 1.0]
    np.testing.assert_allclose(again.predict_proba(X), model.predict_proba(X), atol=1e-5)


def test_a_loss_that_is_made_already_says_how_it_can_be_saved(tmp_path: Path) -> None:
    model = og.TorchClassifier(criterion=torch.nn.CrossEntropyLoss(), **QUICK).fit(X, CLASSES)
    with pytest.raises(ArtifactError, match=r"made already and cannot be saved\. Give its class"):
        model.save(tmp_path / "net")
