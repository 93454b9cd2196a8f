"""Saved models that a stranger made, checksums and all: nothing of theirs runs, and damage is refused."""

from __future__ import annotations

import cProfile
import hashlib
import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import skops.io
from sklearn.linear_model import HuberRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

import outgrow as og
from broken import damaged
from outgrow import artifact, pointers
from outgrow.errors import ArtifactError, OutgrowError
from outgrow.groups.payload import squeezed
from outgrow.job.report import profile_report
from outgrow.ml.persistence import describe, restore
from outgrow.ml.predictor import Predictor

ROWS = 200


def _sales() -> pa.Table:
    rng = np.random.default_rng(0)
    return pa.table(
        {
            "shop": [f"s{k % 4}" for k in range(ROWS)],
            "price": rng.normal(size=ROWS),
            "sold": rng.normal(size=ROWS),
        }
    )


@pytest.fixture
def stranger(tmp_path: Path) -> tuple[Path, Path]:
    """A model by key whose scikit-learn models write a file when they answer, and that file."""
    mark, sales = tmp_path / "ran", _sales()
    model = og.PerGroup(make_pipeline(StandardScaler(), HuberRegressor()), by=["shop"]).fit(sales, "sold")
    model.save(tmp_path / "good")
    fitted = model.model_of("s0")
    code = f"open({os.fspath(mark)!r}, 'a').write('x')"
    hostile = make_pipeline(FunctionTransformer(partial(cProfile.run, code)), HuberRegressor())
    hostile.steps[1] = ("huberregressor", fitted.steps[1][1])
    kept = squeezed(skops.io.dumps(hostile))
    tree = artifact.read(tmp_path / "good")
    models = tree["estimator"]["learned"]["models_"]
    count = len(models["hashes"])
    models["payload"] = np.frombuffer(kept * count, dtype=np.uint8)
    models["offsets"] = np.arange(count + 1) * len(kept)
    artifact.write(tmp_path / "evil", tree)
    return tmp_path / "evil", mark


def test_a_strangers_objects_are_refused_here(stranger: tuple[Path, Path]) -> None:
    path, mark = stranger
    with pytest.raises(ArtifactError, match="cProfile"):
        og.load(path).predict(_sales())
    assert not mark.exists()


def test_what_was_loaded_stays_a_strangers_in_other_processes(stranger: tuple[Path, Path]) -> None:
    path, mark = stranger
    function, arguments = Predictor(og.load(path)).__reduce__()  # what goes to a worker
    with pytest.raises(ArtifactError, match="cProfile"):
        function(*arguments).answer(og.data.batch.Batch.from_arrow(_sales().to_batches()[0]))
    assert not mark.exists()


def test_a_strangers_objects_are_refused_on_spark(
    spark: Any, stranger: tuple[Path, Path], tmp_path: Path
) -> None:
    path, mark = stranger
    pq.write_table(_sales(), tmp_path / "rows.parquet")
    rows = og.read(tmp_path / "rows.parquet", engine=og.Spark(spark))
    with pytest.raises(OutgrowError, match="cProfile"):
        og.score(og.load(path), rows, tmp_path / "scores")
    assert not mark.exists()


def _trees() -> list[Any]:
    rng = np.random.default_rng(0)
    table = pa.table(
        {
            "a": rng.normal(size=ROWS),
            "w": rng.choice(list("abcd"), ROWS),
            "y": rng.choice(["u", "v", "z"], ROWS),
            "z": rng.normal(size=ROWS),
        }
    )
    few: dict[str, Any] = {"n_estimators": 3, "max_depth": 3}
    return [
        og.GradientBoostingClassifier(**few).fit(table.drop_columns(["z"]), "y"),
        og.RandomForestClassifier(**few).fit(table.drop_columns(["z"]), "y"),
        og.GradientBoostingRegressor(**few).fit(table.drop_columns(["y"]), "z"),
        og.RandomForestRegressor(**few).fit(table.drop_columns(["y"]), "z"),
    ]


def test_damaged_trees_are_refused_before_xgboost_follows_them() -> None:
    rng, refused = np.random.default_rng(1), 0
    rows = pa.table({"a": rng.normal(size=50), "w": rng.choice(list("abcdx"), 50)})
    models = _trees()
    for model in models:
        np.testing.assert_array_equal(restore(describe(model)).predict(rows), model.predict(rows))
    for seed in range(240):
        tree = describe(models[seed % len(models)])
        tree["learned"]["booster_bytes_"] = damaged(tree["learned"]["booster_bytes_"], seed)
        try:
            restore(tree).predict(rows)
        except ArtifactError:
            refused += 1
    assert refused > 60


class Doubled(og.ml.base.Transformer):
    """A transformer of a user."""

    def __init__(self, columns: Any = None) -> None:
        self.columns = columns

    def _fit(self, shard: Any, names: list[str], task: Any) -> None:
        self.seen_ = list(names)

    def _transform_columns(self, batch: Any, names: list[str]) -> Any:
        return batch


class Ridge(Doubled):
    """A transformer of a user that has the name of one of ours."""


def test_classes_of_users_keep_their_names_apart(tmp_path: Path) -> None:
    Ridge(columns=["x0"]).fit(np.eye(3)).save(tmp_path / "theirs")
    og.Ridge().fit(np.eye(3), np.arange(3.0)).save(tmp_path / "ours")
    assert type(og.load(tmp_path / "theirs")) is Ridge
    assert type(og.load(tmp_path / "ours")) is og.Ridge


@pytest.mark.parametrize("name", ["subprocess:Popen", "os:system", "outgrow:load", "Popen", "builtins:eval"])
def test_no_class_is_imported_because_a_model_names_it(name: str, tmp_path: Path) -> None:
    tree = describe(og.Ridge().fit(np.eye(3), np.arange(3.0)))
    artifact.write(tmp_path / "model", {"estimator": {**tree, "class": name}})
    with pytest.raises(ArtifactError, match="not known here"):
        og.load(tmp_path / "model")


def _learned(**values: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda tree: tree["learned"].update(values)


BROKEN: dict[str, Callable[[dict[str, Any]], Any]] = {
    "trust": _learned(_trusted=True),
    "method": _learned(predict="x"),
    "parameter": lambda tree: tree["parameters"].update(alpha2={"value": 1}),
    "no class": lambda tree: tree.pop("class"),
    "a class that is no text": lambda tree: tree.update({"class": ["Ridge"]}),
    "no parameters": lambda tree: tree.update(parameters=None),
    "an odd parameter": lambda tree: tree["parameters"].update(alpha={"estimator": "Ridge"}),
    "learned": lambda tree: tree.update(learned=[1]),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_models_that_hold_something_else_are_refused(kind: str, tmp_path: Path) -> None:
    tree = describe(og.Ridge().fit(np.eye(3), np.arange(3.0)))
    BROKEN[kind](tree)
    artifact.write(tmp_path / "model", {"estimator": tree})
    with pytest.raises(ArtifactError):
        og.load(tmp_path / "model")


def _header(**change: Any) -> bytes:
    """A safetensors file of one large array, whose header says something else."""
    entry = {"dtype": "F64", "shape": [1 << 17], "data_offsets": [0, 1 << 20], **change}
    text = json.dumps({"0": entry}).encode()
    return len(text).to_bytes(8, "little") + text + bytes(1 << 20)


@pytest.mark.parametrize(
    "change",
    [
        {"shape": [1 << 50]},
        {"shape": [-1]},
        {"shape": [0, -5]},
        {"data_offsets": [-8, 1 << 20]},
        {"data_offsets": [0, 1 << 40]},
        {"data_offsets": [1 << 20, 0]},
        {"dtype": "F128"},
        {"dtype": 7},
        {"more": 1},
    ],
)
def test_arrays_are_where_their_header_says_or_refused(change: dict[str, Any], tmp_path: Path) -> None:
    content = {"estimator": {"$array": "0"}}
    for header, right in ((_header(), True), (_header(**change), False)):
        digest = hashlib.sha256(header).hexdigest()
        text = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
        sums = {artifact.ARRAYS: digest, "content": hashlib.sha256(text).hexdigest()}
        (tmp_path / artifact.ARRAYS).write_bytes(header)
        (tmp_path / artifact.STRUCTURE).write_text(
            json.dumps({"format": 1, "sha256": sums, "content": content})
        )
        if right:
            assert artifact.read(tmp_path)["estimator"].shape == (1 << 17,)
        else:
            with pytest.raises(ArtifactError, match="damaged"):
                artifact.read(tmp_path)


@pytest.mark.parametrize("name", ["../other", "/etc", "..", "a/b", ""])
def test_a_folder_of_versions_names_only_its_own(name: str, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / pointers.CURRENT).write_text(name)
    with pytest.raises(ArtifactError):
        og.load(tmp_path / "store")


def test_pipes_and_devices_are_not_waited_for(tmp_path: Path) -> None:
    og.Ridge().fit(np.eye(3), np.arange(3.0)).save(tmp_path / "model")
    for name in (artifact.ARRAYS, artifact.STRUCTURE):
        (tmp_path / "model" / name).rename(tmp_path / "kept")
        os.mkfifo(tmp_path / "model" / name)
        with pytest.raises(ArtifactError, match="no regular file"):
            og.load(tmp_path / "model")
        (tmp_path / "kept").replace(tmp_path / "model" / name)


def test_deep_structures_are_refused(tmp_path: Path) -> None:
    og.Ridge().fit(np.eye(3), np.arange(3.0)).save(tmp_path / "model")
    (tmp_path / "model" / artifact.STRUCTURE).write_text("[" * 200_000)
    with pytest.raises(ArtifactError, match="damaged"):
        og.load(tmp_path / "model")


def test_names_and_values_are_text_in_reports() -> None:
    hostile = "<script>alert('x')</script>"
    rng = np.random.default_rng(0)
    names = [hostile, r"$\nothing$", "a & b", '"><img src=x onerror=y>']
    table = pa.table({name: rng.normal(size=50) for name in names} | {"text": [hostile, "$x$"] * 25})
    page = profile_report(og.dataset(table).profile(), hostile, {})
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert "&lt;script&gt;" in page
