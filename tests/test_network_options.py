"""Networks refuse what torch would take silently, or take amiss; and take what users write."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse

import outgrow as og
from outgrow.errors import DataError, OutgrowError, ParameterError

X = np.random.default_rng(0).normal(size=(120, 3))
NUMBERS = X @ [1.0, -2.0, 0.5]
CLASSES = (NUMBERS > 0).astype(int)


class Net(torch.nn.Module):
    def __init__(self, n_features: int, n_outputs: int) -> None:
        super().__init__()
        self.body = torch.nn.Linear(n_features, 4)
        self.head = torch.nn.Linear(4, n_outputs)

    def forward(self, rows: Any) -> Any:
        return self.head(torch.tanh(self.body(rows)))


class Mean(Net):
    def forward(self, rows: Any) -> Any:
        return super().forward(rows).mean()


def classifier(**options: Any) -> og.TorchClassifier:
    return og.TorchClassifier(
        **{"module": Net, "max_epochs": 2, "random_state": 0, "batch_size": 32, **options}
    )


def regressor(**options: Any) -> og.TorchRegressor:
    return og.TorchRegressor(**{"module": Net, "max_epochs": 1, "random_state": 0, **options})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer__param_groups": [("body.*", {"lrr": 0.1})]}, r"optimizer__lrr: AdamW takes \['amsgrad'"),
        ({"optimizer__param_groups": {"body.*": {"lr": 0.1}}}, "list of pairs of a pattern and a dictionary"),
        ({"optimizer__param_groups": [("body.*", 0.1)]}, "list of pairs of a pattern and a dictionary"),
        ({"optimizer__lr": 0.1}, "say lr=0.1, without optimizer__"),
        ({"lr_schedule": lambda step, steps: None}, "at step 0 of .*returns a number of at least 0"),
        ({"lr_schedule": lambda step, steps: float("nan")}, "gave nan at step 0 of"),
        ({"lr_schedule": lambda step, steps: -1.0}, "gave -1.0 at step 0 of"),
        ({"lr_schedule": torch.optim.lr_scheduler.StepLR}, "Give a function of the step"),
        ({"module": Mean}, r"of shape \(\) for 2 rows; the first size must count rows"),
        ({"criterion__weight": ["a", "b"]}, r"criterion__weight=\['a', 'b'\]: give numbers"),
        ({"device": "nowhere"}, "device='nowhere'"),
    ],
)
def test_options_that_mean_nothing_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        classifier(**options).fit(X, CLASSES)


def test_a_loss_of_classes_learns_no_numbers() -> None:
    with pytest.raises(DataError, match=r"takes all rows together as one\. Choose another criterion"):
        regressor(criterion="CrossEntropyLoss").fit(X, NUMBERS)


def test_losses_and_optimizers_by_the_names_of_their_modules() -> None:
    plain = classifier().fit(X, CLASSES)
    dotted = classifier(criterion="torch.nn.CrossEntropyLoss", optimizer="torch.optim.AdamW").fit(X, CLASSES)
    np.testing.assert_array_equal(dotted.train_loss_, plain.train_loss_)


def test_weights_of_a_loss_are_plain_numbers_and_saved(tmp_path: Any) -> None:
    tensor = classifier(criterion__weight=torch.tensor([1.0, 3.0])).fit(X, CLASSES)
    listed = classifier(criterion__weight=[1.0, 3.0]).fit(X, CLASSES)
    np.testing.assert_array_equal(listed.train_loss_, tensor.train_loss_)
    one = classifier(criterion="BCEWithLogitsLoss", criterion__pos_weight=3.0).fit(X, CLASSES)
    assert (
        one.predict(X).mean() >= classifier(criterion="BCEWithLogitsLoss").fit(X, CLASSES).predict(X).mean()
    )
    seq = og.TorchClassifier(
        torch.nn.Sequential(torch.nn.Linear(3, 2)), criterion__weight=[1, 3], max_epochs=1
    )
    seq.fit(X, CLASSES).save(tmp_path / "net")
    assert og.load(tmp_path / "net").get_params()["criterion__weight"] == [1, 3]


@pytest.mark.parametrize("scale", [1e-25, 1e25])
def test_only_the_ratios_of_weights_count(scale: float) -> None:
    weight = np.linspace(1.0, 2.0, len(X))
    whole = classifier(batch_size=len(X))  # the rows of smaller batches follow from the weights, too
    plain = whole.fit(X, CLASSES, sample_weight=weight).train_loss_
    scaled = whole.fit(X, CLASSES, sample_weight=scale * weight).train_loss_
    np.testing.assert_allclose(scaled, plain, rtol=1e-5)


@pytest.mark.parametrize("weight", [1e-50, 1e-44, 1e50])
def test_weights_that_float32_cannot_hold_are_refused(weight: float) -> None:
    with pytest.raises(DataError, match="divide them by their mean"):
        classifier().fit(X, CLASSES, sample_weight=np.full(len(X), weight))


def test_rows_that_weigh_nothing_beside_the_others_teach_nothing() -> None:
    half = np.arange(len(X)) < 60
    weight = np.where(half, 1.0, 1e-44)
    model = classifier(batch_size=4).fit(X, CLASSES, sample_weight=weight)
    assert np.isfinite(model.train_loss_).all()


@pytest.mark.parametrize(
    ("model", "rows", "target"),
    [
        (regressor(), X, NUMBERS * 1e300),
        (classifier(), sparse.csr_array(np.where(X > 1, 1e300, 0.0)), CLASSES),
        (classifier(), np.where(X > 1, 1e300, X), CLASSES),
    ],
)
def test_numbers_that_float32_cannot_hold_are_refused(model: Any, rows: Any, target: Any) -> None:
    with pytest.raises(OutgrowError, match=r"beyond 3.4e38, which float32 cannot hold"):
        model.fit(rows, target)
