"""Labels written another way than the classes: one rule for quality, gate and loop; strangers are named."""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import outgrow as og
from loops import POLICY, World, rows_of
from outgrow.data.batch import Batch
from outgrow.errors import DataError, JobFileError, ParameterError
from outgrow.inspection.row_losses import losses
from outgrow.loop.carry_out import _baseline
from outgrow.ml.predictor import Predictor
from outgrow.monitor.labels import class_places, strangers
from outgrow.stats.e_detector import upper_mean

ROWS = 1_000
TRUTH = np.arange(ROWS) % 3 == 0
ANSWER = TRUTH ^ (np.arange(ROWS) % 10 == 0)


def judged(predictions: Any, labels: Any, **settings: Any) -> Any:
    ids = np.arange(ROWS)
    table = predictions if isinstance(predictions, dict) else {"prediction": predictions}
    return og.quality(
        pa.table({"id": ids, **table}), pa.table({"id": ids, "y": labels}), on="id", label="y", **settings
    )


WAYS: dict[str, Any] = {
    "boolean": TRUTH,
    "True": [str(value) for value in TRUTH],
    "true": [str(value).lower() for value in TRUTH],
    "TRUE": [str(value).upper() for value in TRUTH],
    "1": TRUTH.astype(int),
    "1.0": TRUTH.astype(float),
    "'1.0'": TRUTH.astype(float).astype(str),
    "decimal": [Decimal(int(value)) for value in TRUTH],
}


@pytest.mark.parametrize("way", WAYS)
def test_a_boolean_is_one_class_however_labels_write_it(way: str) -> None:
    found = judged(ANSWER, WAYS[way]).to_arrow()
    assert found.select(["labelled", "accuracy"]).to_pylist() == [{"labelled": ROWS, "accuracy": 0.9}]


@pytest.mark.parametrize("names", [("False", "True"), ("0", "1"), ("0.0", "1.0")])
@pytest.mark.parametrize("way", WAYS)
def test_the_columns_of_probabilities_may_write_it_another_way(names: tuple[str, str], way: str) -> None:
    chance = np.where(ANSWER, 0.8, 0.2)
    table = {f"probability_{names[0]}": 1 - chance, f"probability_{names[1]}": chance, "prediction": ANSWER}
    (line,) = judged(table, WAYS[way], baseline=0.1).to_arrow().to_pylist()
    assert (line["labelled"], line["accuracy"]) == (ROWS, 0.9)
    assert line["error"] == pytest.approx(0.1 * 0.64 + 0.9 * 0.04, abs=0.002)


def test_what_score_writes_of_a_boolean_target_meets_its_labels(tmp_path: Path) -> None:
    x = np.where(TRUTH, 1.0, -1.0) + np.random.default_rng(0).normal(size=ROWS)
    og.LogisticRegression().fit(pa.table({"x": x, "y": TRUTH}), "y").save(tmp_path / "model")
    rows = pa.table({"id": np.arange(ROWS), "x": x})
    og.score(tmp_path / "model", rows, tmp_path / "scores", keep=["id"], probabilities=True)
    assert "probability_True" in og.read(tmp_path / "scores").columns
    labels = pa.table({"id": np.arange(ROWS), "y": TRUTH})
    found = og.quality(tmp_path / "scores", labels, on="id", label="y", baseline=0.1)
    (line,) = found.to_arrow().to_pylist()
    assert line["labelled"] == ROWS
    assert line["accuracy"] > 0.7


def test_a_class_is_first_what_is_written_just_so_and_never_one_of_two() -> None:
    assert class_places(pa.array(["true", "1", "1.0"]), ["true", "1"]).tolist() == [0, 1, -1]
    assert class_places(pa.array(["007", "7", "7.0", "07"]), ["007", "7"]).tolist() == [0, 1, -1, -1]
    assert class_places(pa.array([2**60 + 1, 2**60]), [2**60, 2**60 + 1]).tolist() == [1, 0]
    assert class_places(pa.array(["1_0", "nan", None]), ["10", "NaN"]).tolist() == [-1, -1, -1]
    assert class_places(pa.chunked_array([["a"], ["b"]]).dictionary_encode(), ["b"]).tolist() == [-1, 0]


@pytest.mark.parametrize(
    ("predicted", "labels"), [(("no", "yes"), ("no ", "yes ")), (("No", "Yes"), ("no", "yes"))]
)
def test_labels_of_other_words_are_refused_with_both_lists(
    predicted: tuple[str, str], labels: tuple[str, str]
) -> None:
    with pytest.raises(DataError) as refused:
        judged(np.where(ANSWER, *predicted), np.where(TRUTH, *labels))
    assert f"labels {sorted(labels)}, predictions {sorted(predicted)}" in str(refused.value)


def test_half_of_the_labels_as_strangers_are_refused_and_a_few_are_named() -> None:
    chances = {"probability_0": np.where(ANSWER, 0.2, 0.8), "probability_1": np.where(ANSWER, 0.8, 0.2)}
    table = {"prediction": ANSWER.astype(int), **chances}
    with pytest.raises(DataError, match=r"labels \['1', '2'\], classes \['0', '1'\]"):
        judged(table, TRUTH + 1)
    few = TRUTH.astype(int)
    few[:20] = 7
    found = judged(table, few)
    assert found.to_arrow()["not_counted"].to_pylist() == [20]
    assert "20 of 1,000 labels are of no known class: labels ['7'], classes ['0', '1']." in str(found)
    missing = pa.array([1.0, float("nan"), None])
    assert strangers(missing, class_places(missing, [0, 1]), [0, 1]) is None


def test_a_class_that_was_never_predicted_is_one_all_the_same() -> None:
    found = judged(["a"] * ROWS, np.where(TRUTH, "a", "b"))
    assert found.to_arrow()["accuracy"].to_pylist() == [TRUTH.mean()]
    assert judged(["a"] * ROWS, ["b"] * ROWS, classes=["a", "b"]).to_arrow()["accuracy"].to_pylist() == [0]


@pytest.mark.parametrize("baseline", [float("nan"), 2, 1, -0.1, "20%", True, Decimal("0.1")])
def test_a_baseline_that_is_no_mean_error_is_refused(baseline: Any) -> None:
    with pytest.raises(ParameterError, match=r"is no mean error. Give a number from 0 to below 1"):
        judged(ANSWER, TRUTH, baseline=baseline)


@pytest.mark.parametrize("rate", [float("nan"), 0, 1, "x", True])
def test_a_rate_of_false_alarms_that_is_none_is_refused(rate: Any) -> None:
    with pytest.raises(ParameterError, match="is no rate of alarms a row"):
        judged(ANSWER, TRUTH, baseline=0.2, false_alarms=rate)


def test_a_baseline_that_can_have_no_effect_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"baseline has no effect.*Give classes="):
        judged(ANSWER.astype(int), TRUTH.astype(int), baseline=0.01)
    given = judged(ANSWER.astype(int), TRUTH.astype(int), baseline=np.float32(0.01), classes=[0, 1])
    assert given.alarms()
    with pytest.raises(ParameterError, match="says nothing of errors"):
        judged(ANSWER, TRUTH, baseline=judged(ANSWER, pa.nulls(ROWS, pa.bool_())))


def test_windows_merge_only_into_windows_that_they_fill() -> None:
    made = np.datetime64("2026-03-01") + (np.arange(ROWS) * 500).astype("timedelta64[s]")
    found = judged({"prediction": ANSWER, "made": made}, TRUTH, times="made", window="1d")
    for length in ("36h", "1h"):
        with pytest.raises(
            ParameterError, match=f"windows of 1d, which do not add up to windows of {length}"
        ):
            found.over(length)
    with pytest.raises(ParameterError, match="has no windows"):
        found.over(None).over("1d")
    assert found.over("2d").to_arrow()["rows"].to_pylist() == found.over("48h").to_arrow()["rows"].to_pylist()


# ---- gate and loop -----------------------------------------------------------------------------------------


def boolean_model() -> tuple[Any, Batch, np.ndarray]:
    x = np.where(TRUTH, 1.0, -1.0) + np.random.default_rng(1).normal(size=ROWS)
    model = og.LogisticRegression().fit(pa.table({"x": x, "y": TRUTH}), "y")
    return Predictor(model), Batch.from_arrow(pa.record_batch({"x": x})), TRUTH


@pytest.mark.parametrize("metric", ["brier", "log_loss", "error_rate"])
@pytest.mark.parametrize("way", WAYS)
def test_a_loss_is_the_same_however_labels_are_written(metric: str, way: str) -> None:
    predictor, batch, truth = boolean_model()
    expected, _ = losses(predictor, batch, pa.array(truth), metric)
    assert expected.mean() < 0.5
    assert losses(predictor, batch, pa.array(WAYS[way]), metric)[0].tolist() == expected.tolist()


def test_losses_of_strangers_are_refused() -> None:
    predictor, batch, truth = boolean_model()
    with pytest.raises(DataError, match=r"labels \['no', 'yes'\], classes \['false', 'true'\]"):
        losses(predictor, batch, pa.array(np.where(truth, "yes", "no")), "brier")


def test_a_baseline_is_of_labels_of_known_classes() -> None:
    facts = {"rows": 1_000, "strangers": 0, "watched_error": 0.1}
    assert _baseline(facts, "error_rate") == upper_mean(0.1, 1_000)
    strange = {"rows": 1_100, "strangers": 100, "watched_error": (0.1 * 1_000 + 100) / 1_100}
    assert _baseline(strange, "error_rate") == pytest.approx(upper_mean(0.1, 1_000))


def reworded(world: World, day: int, words: dict[str, str]) -> None:
    _, labels = rows_of(day)
    texts = [words[text] for text in labels["late"].to_pylist()]
    table = labels.set_column(1, "late", pa.array(texts))
    pq.write_table(table, world.folder / "labels" / f"{day}.parquet")


def test_a_loop_takes_no_baseline_from_strangers(tmp_path: Path) -> None:
    world = World.made(tmp_path)
    world.land(0)
    reworded(world, 0, {"yes": "Y", "no": "N"})
    with pytest.raises(DataError, match=r"labels \['N', 'Y'\], classes \['no', 'yes'\]"):
        world.look(1)
    assert not list(world.loop().log.since(0, kinds=("finding",)))
    world.land(0)
    world.look(1)
    (finding,) = world.loop().log.since(0, kinds=("finding",))
    assert finding.body["baseline"] < 0.3


def test_a_gate_waits_for_labels_that_are_mended(tmp_path: Path) -> None:
    world = World.made(tmp_path, POLICY.replace("least_rows: 300", "least_rows: 2"))
    candidate = world.store.add(world.store.load(1))
    world.land(2)
    reworded(world, 2, {"yes": "Y", "no": "N"})
    carrier = world.loop().carrier
    view = dataclasses.replace(world.loop().view(), now=3 * 86_400.0, untils={1: 0.0})
    decision = {"action": "judge", "key": "k", "version": candidate, "champion": 1}
    kind, body = carrier.carry_out(decision, view)
    assert (kind, body["verdict"]) == ("gate.judged", "cannot say")
    assert "labels ['N', 'Y'], classes ['no', 'yes']" in body["because"]
    assert body.get("baseline") is None


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("metric: log_loss", "metric: mse", "gate.better.metric: mse says nothing of version 1"),
        ("error: brier", "error: mae", "watch.quality.error: mae says nothing of version 1"),
        ("job: job.yaml", "job: nowhere.yaml", "retrain.job: No job file at"),
        ("by: 0,", "by: .nan,", "gate.better.by (line 10): input should be a finite number"),
        ("worse_by_at_most: 0.01", "worse_by_at_most: .inf", "gate.slices.worse_by_at_most"),
    ],
)
def test_a_policy_that_cannot_be_followed_is_refused_before_a_look(
    tmp_path: Path, old: str, new: str, says: str
) -> None:
    world = World.made(tmp_path)
    assert old in POLICY
    (tmp_path / "policy.yaml").write_text(POLICY.replace(old, new).replace("baseline: true, ", ""))
    with pytest.raises(JobFileError) as refused:
        world.loop()
    assert says in str(refused.value)
    assert "nothing was done" in str(refused.value)


def test_a_rollback_of_the_loop_leaves_the_version_it_sends_back(tmp_path: Path) -> None:
    world = World.made(tmp_path)
    for _ in range(2):
        world.store.promote(world.store.add(world.store.load(1)))
    decision = {"action": "rollback", "key": "k", "version": 2, "because": "worse"}
    loop = world.loop()
    loop.carrier.carry_out(decision, dataclasses.replace(loop.view(), champion=3))
    assert world.store.current == 2
    assert world.store.rollback() == 1
