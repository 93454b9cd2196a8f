"""Networks of torch: equal to a loop written by hand, on any partitioning, resumed, and with any setting."""

from __future__ import annotations

import copy
import os
import signal
import subprocess
import sys
import textwrap
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import pyarrow as pa
import pytest
import torch

import outgrow as og
from outgrow import artifact
from outgrow.cli import main
from outgrow.data.scan import Scan
from outgrow.data.source import TableSource
from outgrow.deep import several
from outgrow.deep.criteria import criterion_of, losses_of
from outgrow.deep.fitting import _seeded
from outgrow.deep.loop import Rules
from outgrow.deep.minibatches import Rows
from outgrow.deep.replica import replica_of
from outgrow.deep.training import Plan, Training
from outgrow.engine.collective import Alone, Communicator
from outgrow.engine.context import FitContext
from outgrow.engine.journal import Journal
from outgrow.errors import ArtifactError, DataError, ExportError, ParameterError
from outgrow.ml.persistence import describe
from ranks import ranks

X = np.random.default_rng(0).normal(size=(600, 4))
Y = (X[:, 0] * X[:, 1] > 0).astype(int)


class Net(torch.nn.Module):
    """Two layers."""

    def __init__(self, n_features: int, n_outputs: int, width: int = 8, dropout: float = 0.0) -> None:
        super().__init__()
        self.body = torch.nn.Linear(n_features, width)
        self.dropout = torch.nn.Dropout(dropout)
        self.head = torch.nn.Linear(width, n_outputs)

    def forward(self, inputs: Any) -> Any:
        return self.head(self.dropout(torch.tanh(self.body(inputs))))


def weights(model: Any) -> np.ndarray:
    return np.concatenate([value.ravel() for value in model.weights_.values()])


def fitted(rows: Any = X, y: Any = Y, **settings: Any) -> Any:
    given: dict[str, Any] = {"module": Net, "lr": 0.02, "max_epochs": 5, "batch_size": 64, **settings}
    return og.TorchClassifier(**given).fit(rows, y)


# ---- what is learned -------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("SGD", {"momentum": 0.9, "nesterov": True}),
        ("AdamW", {"weight_decay": 0.1}),
        ("RMSprop", {}),
        ("Adafactor", {}),
    ],
)
def test_equals_a_loop_written_by_hand(name: str, options: dict[str, Any], weighted: bool) -> None:
    """With all rows in one batch nothing is random: each step is that of a plain loop."""
    weight = np.random.default_rng(1).uniform(0.5, 2, len(X)) if weighted else None
    start = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.GELU(), torch.nn.Linear(8, 2))
    net = copy.deepcopy(start)
    optimizer = getattr(torch.optim, name)(net.parameters(), lr=0.02, **options)
    inputs, targets = torch.tensor(X, dtype=torch.float32), torch.tensor(Y)
    each = torch.ones(len(X)) if weight is None else torch.tensor(weight, dtype=torch.float32)
    for _ in range(30):
        optimizer.zero_grad()
        losses = torch.nn.functional.cross_entropy(net(inputs), targets, reduction="none")
        (losses @ each / each.sum()).backward()
        optimizer.step()
    model = og.TorchClassifier(
        start,
        optimizer=name,
        lr=0.02,
        max_epochs=30,
        batch_size=len(X),
        **{f"optimizer__{key}": value for key, value in options.items()},
    ).fit(X, Y, sample_weight=weight)
    expected = torch.softmax(net(inputs), 1).detach().numpy()
    np.testing.assert_allclose(model.predict_proba(X), expected, atol=1e-4)


def test_order_and_partitions_of_rows_do_not_count() -> None:
    table = pa.table({**{f"x{j}": X[:, j] for j in range(4)}, "y": Y})
    shuffled = table.take(np.random.default_rng(2).permutation(len(X)))
    known = weights(fitted(table, "y"))
    assert (weights(fitted(shuffled, "y")) == known).all()
    assert (
        weights(fitted(og.Dataset(Scan(TableSource(shuffled, 50)), og.Local(threads=2)), "y")) == known
    ).all()


PLAIN = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
"""Made once: ranks that are threads share torch's random numbers."""


def trained_on(comm: Communicator, part: slice, **plan: Any) -> np.ndarray:
    """The parameters after a training of which this rank has a part of the rows."""
    module = copy.deepcopy(plan.pop("module", PLAIN))
    replica = replica_of(module, "AdamW", {}, lr=0.01)
    hashes = np.random.default_rng(3).integers(1 << 63, size=len(X)).astype(np.uint64)
    rows = Rows(torch.tensor(X[part], dtype=torch.float32), torch.tensor(Y[part]), None, hashes[part], (4,))
    losses = losses_of(criterion_of("CrossEntropyLoss", {}))
    run = FitContext(comm)
    progress = Training(run, rows, replica, losses, Plan(Rules(0.01), 11, 60, **plan)).run_to_the_end()
    assert progress.epoch == 11
    learned: np.ndarray = np.append(replica.parameters.numpy().copy(), progress.validation)
    return learned


@pytest.mark.parametrize("size", [2, 4])
def test_ranks_learn_what_one_process_does(size: int) -> None:
    """110 steps over uneven parts, of which one has no row; also the losses of rows held out."""
    alone = trained_on(Alone(), slice(None), held_out=0.2)
    cuts = [0, *sorted(np.random.default_rng(size).choice(len(X), size - 2, replace=False)), len(X), len(X)]

    def work(comm: Communicator) -> np.ndarray:
        return trained_on(comm, slice(cuts[comm.rank], cuts[comm.rank + 1]), held_out=0.2)

    first, *others = ranks(size, work)
    np.testing.assert_allclose(first, alone, rtol=1e-6, atol=1e-6)
    assert all((other == first).all() for other in others)
    again = ranks(size, work)
    assert (again[0] == first).all()


def test_means_of_batches_are_those_of_all_ranks() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 2))

    def work(comm: Communicator) -> np.ndarray:
        return trained_on(comm, slice(comm.rank * 300, comm.rank * 300 + 300), module=module, held_out=0.2)

    first, second = ranks(2, work)
    assert (first == second).all()


def test_rows_past_memory_are_in_a_file() -> None:
    table = pa.table({**{f"x{j}": X[:, j] for j in range(4)}, "y": Y})
    rows = og.Dataset(Scan(TableSource(table, 100)), og.Local(memory=1 << 20, threads=2))
    assert (weights(fitted(rows, "y")) == weights(fitted(table, "y"))).all()


# ---- settings --------------------------------------------------------------------------------------------


def test_parts_of_batches_add_up() -> None:
    np.testing.assert_allclose(weights(fitted(accumulate=3)), weights(fitted()), atol=1e-5)


def test_recomputing_changes_nothing() -> None:
    assert (weights(fitted(recompute=["body"])) == weights(fitted())).all()


def test_bfloat16_is_near() -> None:
    near = fitted(precision="bfloat16", max_epochs=20).score(X, Y)
    assert abs(near - fitted(max_epochs=20).score(X, Y)) < 0.05


def test_frozen_layers_keep_their_statistics() -> None:
    """As PyTorch #86590 asks for: else a frozen network drifts away from the one that was pretrained."""
    torch.manual_seed(0)
    body = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4))
    net = torch.nn.Sequential(
        OrderedDict(body=body, norm=torch.nn.BatchNorm1d(4), head=torch.nn.Linear(4, 2))
    )
    model = fitted(module=net, frozen=["body"], max_epochs=2)
    assert torch.equal(model.module_.body[1].running_mean, torch.zeros(4))
    assert torch.equal(model.module_.body[1].running_var, torch.ones(4))
    assert model.module_.norm.running_mean.any()


def test_frozen_parameters_stay() -> None:
    torch.manual_seed(0)
    net = Net(4, 2)
    model = fitted(module=net, frozen=["body"])
    np.testing.assert_array_equal(model.weights_["body.weight"], net.body.weight.detach().numpy())
    assert (model.weights_["head.weight"] != net.head.weight.detach().numpy()).all()


def test_groups_of_parameters_have_their_own_rates() -> None:
    torch.manual_seed(0)
    net = Net(4, 2)
    slow = fitted(
        module=net, optimizer="SGD", max_epochs=1, optimizer__param_groups=[("body.*", {"lr": 2e-6})]
    )
    moved = np.abs(slow.weights_["body.weight"] - net.body.weight.detach().numpy()).max()
    assert 0 < moved < 1e-4
    assert np.abs(slow.weights_["head.weight"] - net.head.weight.detach().numpy()).max() > 1e-3


def test_class_weights_are_weights() -> None:
    known = weights(fitted(class_weight={0: 1.0, 1: 3.0}, batch_size=len(X)))
    model = og.TorchClassifier(Net, lr=0.02, max_epochs=5, batch_size=len(X))
    given = model.fit(X, Y, sample_weight=np.where(Y == 1, 3.0, 1.0))
    np.testing.assert_allclose(weights(given), known, atol=1e-5)


def test_early_stopping_keeps_the_best_epoch() -> None:
    noise = np.random.default_rng(4).integers(2, size=len(X))
    model = fitted(y=noise, module__width=200, early_stopping=True, max_epochs=200, n_iter_no_change=3)
    assert model.n_iter_ < 200
    assert model.best_epoch_ == int(np.argmin(model.validation_loss_)) < model.n_iter_ - 1
    again = fitted(
        y=noise,
        module__width=200,
        early_stopping=True,
        max_epochs=model.best_epoch_ + 1,
        n_iter_no_change=3,
    )
    assert (weights(again) == weights(model)).all()


class Uncertain(Net):
    """Gives no numbers when it is asked before it has learned for some steps."""

    def forward(self, inputs: Any) -> Any:
        self.steps = getattr(self, "steps", 0) + self.training
        outputs = super().forward(inputs)
        return outputs if self.training or self.steps > 20 else outputs * np.nan


def test_early_stopping_goes_on_after_a_loss_that_is_no_number() -> None:
    """It counted as the best of all (early-stopping-pytorch #28)."""
    stops = {"early_stopping": True, "n_iter_no_change": 4, "max_epochs": 8, "lr": 0.02, "batch_size": 32}
    model = og.TorchClassifier(Uncertain, random_state=0, **stops).fit(X, Y)
    losses = model.validation_loss_
    assert np.isnan(losses[0])
    assert not np.isnan(losses[-1])
    assert model.best_epoch_ == np.nanargmin(losses)


def test_running_average_lags_behind() -> None:
    averaged, plain = fitted(ema=0.9), fitted()
    assert 0 < np.abs(weights(averaged) - weights(plain)).max() < 0.5
    assert averaged.score(X, Y) == pytest.approx(plain.score(X, Y), abs=0.1)


def test_schedule_ends_with_small_steps() -> None:
    whole, short = (weights(fitted(lr_schedule="linear", max_epochs=epochs)) for epochs in (40, 41))
    rough, other = (weights(fitted(max_epochs=epochs)) for epochs in (40, 41))
    assert np.abs(whole - short).mean() < np.abs(rough - other).mean()


def test_warm_start_goes_on() -> None:
    model = fitted(warm_start=True)
    first = model.train_loss_[0]
    assert model.fit(X, Y).train_loss_[0] < first


def test_dropout_is_the_same_twice_and_off_in_answers() -> None:
    model = fitted(module__dropout=0.5)
    assert (weights(fitted(module__dropout=0.5)) == weights(model)).all()
    assert (model.predict_proba(X) == model.predict_proba(X)).all()
    assert (weights(fitted(module__dropout=0.5, random_state=1)) != weights(model)).any()


def test_numbers_of_the_user_are_not_touched() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    fitted()
    assert (torch.rand(3) == expected).all()


@pytest.mark.parametrize(
    ("criterion", "outputs"),
    [("BCEWithLogitsLoss", 1), ("CrossEntropyLoss", 2), ("NLLLoss", 2), ("MultiMarginLoss", 2)],
)
def test_losses_of_classes(criterion: str, outputs: int) -> None:
    last = [torch.nn.LogSoftmax(1)] if criterion == "NLLLoss" else []
    net = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.Tanh(), torch.nn.Linear(16, outputs), *last)
    model = fitted(module=net, criterion=criterion, max_epochs=60)
    assert model.score(X, Y) > 0.9
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1, atol=1e-6)


def test_function_as_loss() -> None:
    def mean_loss(outputs: Any, targets: Any) -> Any:
        return torch.nn.functional.cross_entropy(outputs, targets)

    np.testing.assert_allclose(weights(fitted(criterion=mean_loss)), weights(fitted()), atol=1e-5)


def test_targets_of_any_scale() -> None:
    y = np.column_stack([1e6 + 1e3 * X[:, 0], 1e-6 * X[:, 1]])
    model = og.TorchRegressor(module__hidden=(16,), lr=0.01, max_epochs=40, batch_size=64).fit(X, y)
    scores = model.evaluate(X, y)
    assert model.predict(X).shape == (600, 2)
    assert min(value for name, value in scores.items() if name.startswith("r2")) > 0.95


def test_images_by_their_shape() -> None:
    pixels = np.zeros((200, 3 * 8 * 8))
    pixels[::2, :60] = 1
    conv = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten(),
        torch.nn.Linear(16, 2),
    )  # fmt: skip
    y = np.arange(200) % 2
    model = og.TorchClassifier(conv, input_shape=(3, 8, 8), lr=0.05, max_epochs=15).fit(pixels, y)
    assert model.score(pixels, y) == 1.0
    with pytest.raises(ParameterError, match="192"):
        og.TorchClassifier(conv, input_shape=(3, 8, 9)).fit(pixels, y)


# ---- categories ------------------------------------------------------------------------------------------


def test_columns_of_text_become_embeddings() -> None:
    rng = np.random.default_rng(5)
    kinds = np.array([f"k{j}" for j in range(20)])
    frame = pd.DataFrame({"kind": kinds[rng.integers(20, size=2000)], "x": rng.normal(size=2000)})
    frame["late"] = np.where(frame["kind"].str[1:].astype(int) % 2 == (frame["x"] > 0), "yes", "no")
    model = og.TorchClassifier(lr=0.01, max_epochs=25, batch_size=64).fit(frame, "late")
    assert model.score(frame, "late") > 0.95
    assert model.categories_["kind"] == sorted(kinds)
    odd = frame.assign(kind=["new", None] * 1000)
    assert np.isfinite(model.predict_proba(odd)).all()


# ---- what goes wrong -------------------------------------------------------------------------------------


class Explodes(torch.nn.Module):
    """Gives what is no number."""

    def __init__(self, n_features: int, n_outputs: int) -> None:
        super().__init__()
        self.inner = torch.nn.Linear(n_features, n_outputs)
        self.log = Logarithm()

    def forward(self, inputs: Any) -> Any:
        return self.log(self.inner(inputs))


class Logarithm(torch.nn.Module):
    def forward(self, inputs: Any) -> Any:
        return torch.log(inputs)


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"module": Explodes}, DataError, r"no number at step 0 of 45.*log \(Logarithm\)"),
        ({"module": Net, "module__wide": 3}, ParameterError, "unexpected keyword argument 'wide'"),
        ({"module": Net(5, 2)}, DataError, r"does not take rows of shape \(4,\)"),
        ({"module": Net(4, 3)}, DataError, "gives 3 numbers for a row, and there are 2 classes"),
        ({"module": Net(4, 2), "module__width": 3}, ParameterError, "is made already"),
        ({"module": "nowhere.at:All"}, ParameterError, "No module named 'nowhere'"),
        ({"module": len}, ParameterError, "cannot be made"),
        ({"optimizer": "LBFGS"}, ParameterError, "torch.optim has"),
        ({"optimizer__speed": 1}, ParameterError, "optimizer__speed: AdamW takes"),
        ({"criterion": "Loss"}, ParameterError, "torch.nn has"),
        ({"criterion__smooth": 1}, ParameterError, "CrossEntropyLoss cannot be made"),
        ({"criterion": "MSELoss"}, DataError, r"MSELoss does not take the module's outputs"),
        ({"frozen": ["tail"]}, ParameterError, "no parameter is called so"),
        ({"frozen": ["body", "head"]}, ParameterError, "all are frozen"),
        ({"recompute": ["tail"]}, ParameterError, "no submodule is called so"),
        ({"optimizer__param_groups": [("tail.*", {})]}, ParameterError, "called like 'tail"),
        ({"device": "abacus"}, ParameterError, "device='abacus'"),
        ({"early_stopping": True, "validation_fraction": 1e-9}, DataError, "leaves 600 row"),
    ],
)
def test_says_what_is_wrong(settings: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        fitted(**settings).predict_proba(X)


def test_numbers_must_fit_float32() -> None:
    with pytest.raises(DataError, match="Feature 1 has numbers beyond"):
        fitted(np.column_stack([X[:, 0], X[:, 1] * 1e300]))
    with pytest.raises(DataError, match=r"beyond 3\.4e38"):
        fitted().predict(X * 1e300)
    with pytest.raises(ValueError, match="NaN"):
        fitted(np.where(X > 2, np.nan, X))


def test_parameters_with_unknown_beginnings() -> None:
    with pytest.raises(TypeError, match="module__"):
        og.TorchClassifier(modul__width=3)


# ---- saved, and resumed ----------------------------------------------------------------------------------


ANSWER = """
    import sys, numpy as np, pandas as pd, outgrow as og
    folder = sys.argv[1]
    model = og.load(f"{folder}/model")
    answers = model.predict_proba(pd.read_parquet(f"{folder}/rows.parquet"))
    assert "torch" not in sys.modules and "test_networks" not in sys.modules
    np.testing.assert_allclose(answers, np.load(f"{folder}/answers.npy"), atol=1e-5)
    try:
        model.module_
    except og.errors.ArtifactError as error:
        print(error)
"""


@pytest.mark.parametrize("module", ["mlp", Net])
def test_loaded_answers_without_torch_and_imports_nothing(module: Any, tmp_path: Path) -> None:
    frame = pd.DataFrame(X, columns=list("abcd"))
    if module == "mlp":
        frame["kind"] = np.where(X[:, 0] > 0, "positive", "negative")
    model = og.Pipeline([og.SimpleImputer(columns=og.numeric()), og.TorchClassifier(module)]).fit(frame, Y)
    model.save(tmp_path / "model")
    frame.to_parquet(tmp_path / "rows.parquet")
    np.save(tmp_path / "answers.npy", model.predict_proba(frame))
    script = textwrap.dedent(ANSWER).replace("model.module_", "model[-1].module_")
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert ("then load: no code is imported" in done.stdout) == (module is Net)
    again = og.load(tmp_path / "model").fit(frame, Y)
    assert again.score(frame, Y) == model.score(frame, Y)
    np.testing.assert_allclose(again.predict_proba(frame), model.predict_proba(frame), atol=1e-6)


@pytest.mark.parametrize(
    "settings",
    [
        {"module": "mlp", "module__batch_norm": True, "module__residual": True, "module__activation": "gelu"},
        {"module": "mlp", "module__hidden": (), "module__dropout": 0.2},
        {"module": "mlp", "module__hidden": 7, "module__activation": "silu", "ema": 0.9},
        {"module": Net, "recompute": ["body"]},
        {"criterion": "BCEWithLogitsLoss", "module": torch.nn.Sequential(torch.nn.Linear(4, 1))},
        {"predict_nonlinearity": "sigmoid"},
    ],
)
def test_one_file_answers_alike(settings: dict[str, Any], tmp_path: Path) -> None:
    model = fitted(max_epochs=2, **settings)
    model.to_onnx(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    rows = {f"x{j}": X[:, [j]] for j in range(4)}
    labels, chances = session.run(["prediction", "probabilities"], rows)
    np.testing.assert_allclose(chances, model.predict_proba(X), atol=1e-5)
    assert (labels == model.predict(X)).mean() > 0.99


def test_missing_text_and_huge_numbers_in_one_file(tmp_path: Path) -> None:
    """Empty text is missing in ONNX: as a category it cannot be told from that, and is refused."""
    frame = pd.DataFrame({"x": X[:, 0], "kind": np.where(X[:, 1] > 0, "yes", "no")})
    frame.loc[::7, "kind"] = None
    model = og.TorchClassifier(max_epochs=2).fit(frame, Y)
    model.to_onnx(tmp_path / "model.onnx")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", options)
    kinds = frame["kind"].fillna("").to_numpy(object)[:, None]
    (chances,) = session.run(["probabilities"], {"x": X[:, :1], "kind": kinds})
    np.testing.assert_allclose(chances, model.predict_proba(frame), atol=1e-5)
    with pytest.raises(Exception, match=r"TorchClassifier: X contains numbers beyond 3\.4e38"):
        session.run(None, {"x": X[:, :1] * 1e300, "kind": kinds})
    empty = og.TorchClassifier(max_epochs=1).fit(frame.replace({"kind": {"no": ""}}), Y)
    with pytest.raises(ExportError, match="empty text as a category"):
        empty.to_onnx(tmp_path / "other.onnx")


@pytest.mark.parametrize("graph", [10**12, [1], "text", b"", b"nothing", np.zeros(3, dtype=np.uint8)])
def test_a_strangers_graph_is_refused(graph: Any, tmp_path: Path) -> None:
    fitted(max_epochs=1).save(tmp_path / "model")
    tree = artifact.read(tmp_path / "model")
    assert isinstance(tree["estimator"]["learned"]["graph_"], bytes)
    tree["estimator"]["learned"]["graph_"] = graph
    artifact.write(tmp_path / "evil", tree)
    with pytest.raises(ArtifactError):
        og.load(tmp_path / "evil").predict(X)


def test_a_strangers_structure_takes_no_memory(tmp_path: Path) -> None:
    net = torch.nn.Sequential(torch.nn.Linear(4, 2))
    fitted(module=net, max_epochs=1).save(tmp_path / "model")
    assert repr(og.load(tmp_path / "model").module_) == repr(net)
    tree = artifact.read(tmp_path / "model")
    huge = {"layer": "Linear", "with": {"in_features": 200_000, "out_features": 200_000}}
    tree["estimator"]["parameters"]["module"] = _described({"layer": "Sequential", "modules": [["0", huge]]})
    artifact.write(tmp_path / "evil", tree)
    with pytest.raises(ArtifactError, match=r"shape \(2, 4\), and has to have \(200000, 200000\)"):
        _ = og.load(tmp_path / "evil").module_


def _described(value: Any) -> Any:
    return describe(og.TorchClassifier(module=value))["parameters"]["module"]


def interrupted(after: int, make: Callable[[Journal], Any]) -> tuple[Any, int]:
    """What is learned by a fit that goes on from the first entries that a whole one keeps."""
    entries: list[bytes] = []
    make(Journal(keep=lambda place, entry: entries.append(entry)))
    return make(Journal(entries[: len(entries) * after // 4])), len(entries)


@pytest.mark.parametrize("after", [0, 1, 2, 3, 4])
def test_resumed_is_unbroken_to_the_bit(after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(several, "SNAPSHOT_SECONDS", 0.0)

    def make(journal: Journal) -> np.ndarray:
        torch.manual_seed(0)
        net = torch.nn.Sequential(
            torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Dropout(0.3), torch.nn.Linear(8, 2)
        )
        replica = replica_of(net, "AdamW", {}, lr=0.01)
        hashes = np.arange(len(X)).astype(np.uint64)
        rows = Rows(torch.tensor(X, dtype=torch.float32), torch.tensor(Y), None, hashes, (4,))
        losses = losses_of(criterion_of("CrossEntropyLoss", {}))
        plan = Plan(Rules(0.01), 4, 100, average=0.9, held_out=0.2, patience=3)
        Training(FitContext(journal=journal), rows, replica, losses, plan).run_to_the_end()
        return np.concatenate([array.detach().numpy().ravel() for array in net.state_dict().values()])

    resumed, count = interrupted(after, make)
    assert count >= 16
    assert (resumed == make(Journal())).all()


def test_a_snapshot_takes_the_place_of_the_one_before() -> None:
    kept: dict[int, bytes] = {}
    journal = Journal(keep=kept.__setitem__)
    for number, kind in enumerate(["pass", "trees", "trees", "trees", "pass", "trees"]):
        journal.note(np.full(5, float(number)), kind)
    assert sorted(kept) == [0, 1, 2, 3]
    assert journal.written == sum(map(len, kept.values()))
    again = Journal([kept[place] for place in range(4)], kept.__setitem__)
    assert [again.recall()[0] for _ in range(4)] == [0, 3, 4, 5]
    again.note(np.full(5, 6.0), "trees")
    assert sorted(kept) == [0, 1, 2, 3]
    assert Journal([kept[3]]).recall()[0] == 6


KILLED_AT = 8
"""Which event a fit hears as the last."""


def learned_alike(folder: str | None, most: int | None = None) -> tuple[int, bytes]:
    """The first epoch that was heard, and what a fit learned; it kills its process after `most` events."""
    X = np.random.default_rng(0).normal(size=(500, 3))
    rows = og.dataset(pa.table({"a": X[:, 0], "b": X[:, 1], "y": X[:, 0] > 0}))
    rows = og.Dataset(rows.scan, og.Local(threads=1, checkpoint=folder))
    seen: list[Any] = []

    def hear(event: Any) -> None:
        seen.append(event)
        if len(seen) == most:
            os.kill(os.getpid(), signal.SIGKILL)

    with og.listen(hear):
        model = og.TorchClassifier(max_epochs=12, batch_size=50, module__dropout=0.2).fit(rows, "y")
    epochs = [event.step for event in seen if event.unit == "epoch"]
    return epochs[0], np.concatenate([value.ravel() for value in model.weights_.values()]).tobytes()


def test_killed_and_called_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = (
        "import sys; from outgrow.deep import several; from test_networks import KILLED_AT, learned_alike\n"
        "several.SNAPSHOT_SECONDS = 0.0; learned_alike(sys.argv[1], KILLED_AT)"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    killed = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    monkeypatch.setattr(several, "SNAPSHOT_SECONDS", 0.0)
    first, resumed = learned_alike(str(tmp_path))
    assert first > 3
    assert learned_alike(None) == (1, resumed)


# ---- searches, and jobs ----------------------------------------------------------------------------------


def test_searches_choose_layers_and_stop_between_epochs() -> None:
    frame = pd.DataFrame({f"x{j}": X[:, j] for j in range(4)}).assign(y=Y)
    found = og.tune(
        og.Pipeline([og.StandardScaler(), og.TorchClassifier(max_epochs=12, batch_size=64)]),
        frame,
        "y",
        space={
            "torchclassifier__lr": {"low": 1e-4, "high": 0.1, "log": True},
            "torchclassifier__module__hidden": [[4], (32, 16)],
        },
        metric="log_loss",
        pruner="asha",
        trials=10,
        seed=0,
        workers=1,
    )
    states = found.trials["state"].to_pylist()
    assert "pruned" in states
    assert found.best_parameters["torchclassifier__module__hidden"] in ([4], [32, 16])
    assert found.best_estimator.score(frame, "y") > 0.8


def test_job_names_a_class_beside_its_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pd.DataFrame({f"x{j}": X[:, j] for j in range(4)}).assign(y=Y).to_parquet(tmp_path / "rows.parquet")
    (tmp_path / "nets.py").write_text(
        textwrap.dedent("""
            import torch

            class Small(torch.nn.Sequential):
                def __init__(self, n_features, n_outputs, width):
                    linear = torch.nn.Linear
                    super().__init__(linear(n_features, width), torch.nn.Tanh(), linear(width, n_outputs))
            """)
    )
    (tmp_path / "job.yaml").write_text(
        "name: nets\ndata: {path: rows.parquet}\ntarget: y\nsplit: {test: 0.2, seed: 7}\nmodel:\n"
        "  TorchClassifier: {module: 'nets:Small', module__width: 16, lr: 0.02, max_epochs: 20}\n"
        f"output: {tmp_path / 'out'}\n"
    )
    command = [sys.executable, "-c", "import sys; from outgrow.cli import main; sys.exit(main())"]
    done = subprocess.run(
        [*command, "run", str(tmp_path / "job.yaml")], capture_output=True, text=True, cwd="/"
    )
    assert done.returncode == 0, done.stderr
    rows = pd.read_parquet(tmp_path / "rows.parquet")
    assert og.load(tmp_path / "out" / "model").score(rows, "y") > 0.85
    monkeypatch.setattr(sys, "path", [*sys.path])
    wrong = (tmp_path / "job.yaml").read_text().replace("module__width", "modul__width")
    (tmp_path / "job.yaml").write_text(wrong)
    with pytest.raises(SystemExit, match="2"):
        main(["run", str(tmp_path / "job.yaml")])
    assert "modul__width" in capsys.readouterr().err


# ---- losses and outputs of any kind ----------------------------------------------------------------------


class Variational(torch.nn.Module):
    """An autoencoder of which three things are known."""

    def __init__(self, n_features: int, latent: int = 2) -> None:
        super().__init__()
        self.encode = torch.nn.Linear(n_features, 2 * latent)
        self.decode = torch.nn.Linear(latent, n_features)

    def forward(self, inputs: Any) -> Any:
        mean, log_variance = self.encode(inputs).chunk(2, 1)
        noise = torch.randn_like(mean) * torch.exp(log_variance / 2) if self.training else 0.0
        return {"x": self.decode(mean + noise), "mean": mean, "log_variance": log_variance}


def bound(outputs: Any, inputs: Any) -> Any:
    """The evidence lower bound, with the other sign (Kingma and Welling 2014)."""
    spread = 1 + outputs["log_variance"] - outputs["mean"] ** 2 - outputs["log_variance"].exp()
    return ((outputs["x"] - inputs) ** 2).sum(1) - 0.005 * spread.sum(1)


def test_loss_and_outputs_of_ones_own(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(900, 2)) @ np.random.default_rng(1).normal(size=(2, 8))
    settings: dict[str, Any] = {"criterion": bound, "target": "inputs", "lr": 0.03, "max_epochs": 30}
    model = og.TorchModule(Variational, output="mean", **settings).fit(rows)
    whole = og.TorchModule(Variational, **settings).fit(rows)
    assert model.predict(rows).shape == (900, 2)
    assert whole.predict(rows).shape == (900, 12)
    np.testing.assert_array_equal(whole.predict(rows)[:, 8:10], model.predict(rows))
    loss = bound(model.module_(torch.tensor(rows, dtype=torch.float32)), torch.tensor(rows))
    assert model.evaluate(rows)["loss"] == pytest.approx(float(loss.detach().mean()), rel=1e-5)
    assert model.score(rows) == -model.evaluate(rows)["loss"] > -0.2 * rows.var(axis=0).sum()
    with pytest.raises(ArtifactError, match="bound"):
        model.save(tmp_path / "model")
    og.FunctionTransformer.register(bound)
    model.save(tmp_path / "model")
    loaded = og.load(tmp_path / "model")
    np.testing.assert_allclose(loaded.predict(rows), model.predict(rows), atol=1e-5)
    assert loaded.score(rows) == pytest.approx(model.score(rows), abs=1e-5)
    model.to_onnx(tmp_path / "model.onnx")


def test_several_outputs_need_a_module_model() -> None:
    with pytest.raises(ParameterError, match="TorchModule takes several"):
        og.TorchRegressor(Variational).fit(X, X[:, 0])
    model = og.TorchModule(Variational, criterion=bound, target="inputs", output="noise", max_epochs=1)
    with pytest.raises(ParameterError, match="'x', 'mean', 'log_variance'"):
        model.fit(X).predict(X)


def test_weights_of_rows_count_in_losses() -> None:
    weight = np.random.default_rng(2).uniform(0, 2, len(X))
    model = og.TorchModule(lr=0.01).fit(X, X[:, 0], sample_weight=weight)
    losses = (model.predict(X) - X[:, 0]) ** 2
    expected = float(losses @ weight / weight.sum())
    assert model.evaluate(X, X[:, 0], sample_weight=weight)["loss"] == pytest.approx(expected, rel=1e-4)


def test_modules_that_threads_make_begin_alike() -> None:
    """The random numbers of torch are those of the whole process."""

    def made(_: int) -> tuple[float, ...]:
        with _seeded(3):
            return tuple(torch.rand(1).item() for _ in range(200))

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(made, range(32)))) == 1
