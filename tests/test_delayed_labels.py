"""Quality with labels that come later, in batches, and what becomes of the labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import accuracy_score, log_loss, mean_absolute_error, roc_auc_score

import outgrow as og
from outgrow.data.spans import Span, moment
from outgrow.errors import ColumnNotFoundError, DataError, ParameterError, SchemaError
from outgrow.monitor.business import ESTIMATED, TAKEN

ROWS = 6000
START = np.datetime64("2026-03-01T00:00:00")


def tables(seed: int = 0) -> tuple[pandas.DataFrame, pandas.DataFrame]:
    """Predictions of five days, a row each 72 seconds, of two versions; labels follow after six hours."""
    rng = np.random.default_rng(seed)
    p = rng.beta(0.7, 1.2, ROWS)
    made = START + (np.arange(ROWS) * 72).astype("timedelta64[s]")
    predictions = pandas.DataFrame(
        {
            "id": np.arange(ROWS),
            "made": made,
            "place": rng.choice(["inn", "sea"], ROWS),
            "price": rng.uniform(1, 9, ROWS).round(2),
            "prediction": np.where(p > 0.5, "yes", "no"),
            "probability_no": 1 - p,
            "probability_yes": p,
            "model_version": np.where(np.arange(ROWS) < 3000, "1", "2"),
        }
    )
    truth = np.where(rng.random(ROWS) < p, "yes", "no")
    labels = pandas.DataFrame({"id": np.arange(ROWS), "late": truth, "seen": made + np.timedelta64(6, "h")})
    return predictions, labels.sample(frac=1, random_state=seed)


def judge(predictions: Any, labels: Any, **settings: Any) -> Any:
    return og.quality(
        predictions, labels, **({"on": "id", "label": "late", "times": ("made", "seen")} | settings)
    )


def test_metrics_by_version_slice_and_window_are_those_of_sklearn(tmp_path: Path) -> None:
    predictions, labels = tables()
    pq.write_table(pa.Table.from_pandas(predictions), tmp_path / "scores.parquet", row_group_size=700)
    found = judge(tmp_path / "scores.parquet", labels, window="1d", slices=["place"])
    pairs = predictions.merge(labels, on="id")
    pairs["day"] = pairs.made.dt.floor("1d").dt.tz_localize("UTC")
    lines = {(r["version"], r["slice"], r["start"]): r for r in found.to_arrow().to_pylist()}
    assert len(lines) == 6 * 3  # both versions answered on the third day
    for (version, day), rows in pairs.groupby(["model_version", "day"]):
        for name, some in [("", rows), ("place=sea", rows[rows.place == "sea"])]:
            line = lines[version, name, day.to_pydatetime()]
            p = some.probability_yes
            expected = {
                "rows": len(some),
                "accuracy": accuracy_score(some.late, some.prediction),
                "log_loss": log_loss(some.late == "yes", p),
                "roc_auc": roc_auc_score(some.late == "yes", p),
                "error": ((p - (some.late == "yes")) ** 2).mean(),
            }
            assert {k: line[k] for k in expected} == pytest.approx(expected, abs=0.003)
            assert line["accuracy"] == pytest.approx(expected["accuracy"], rel=1e-12)
            assert line["label_lag_seconds"] == 6 * 3600
    whole = found.over(None, slices=False)
    again = judge(predictions, labels)
    exact = ["version", "rows", "labelled", "accuracy", "f1", "error"]
    assert whole.to_arrow().select(exact).equals(again.to_arrow().select(exact))
    assert found.over("1mo").to_arrow().num_rows == 2 * 3
    assert "probabilities are calibrated" in str(whole)


def test_the_same_numbers_on_spark(spark: Any) -> None:
    predictions, labels = tables()
    here = judge(predictions, labels, window="1d", within="12h")
    there = judge(spark.createDataFrame(predictions).repartition(3), labels, window="1d", within="12h")
    assert here.labels == there.labels
    assert {g: s.errors.counts.tolist() for g, s in here.states.items()} == {
        g: s.errors.counts.tolist() for g, s in there.states.items()
    }
    assert {g: s.counts.tolist() for g, s in here.states.items()} == {
        g: s.counts.tolist() for g, s in there.states.items()
    }


def test_what_becomes_of_labels_is_counted_and_said() -> None:
    predictions, labels = tables()
    labels = labels.sort_values("id").reset_index(drop=True)
    labels.loc[:9, "seen"] += np.timedelta64(1, "D")  # too late
    labels.loc[10:12, "late"] = ["maybe", None, "perhaps"]
    labels.loc[20:24, "seen"] -= np.timedelta64(1, "D")  # before the prediction was made
    same = labels.iloc[30:34]
    other = labels.iloc[40:43].assign(late="yes", seen=lambda rows: rows.seen + np.timedelta64(1, "h"))
    first_said = labels.late.iloc[40:43].eq("yes").sum()
    strange = labels.iloc[50:57].assign(id=-labels.id.iloc[50:57])
    nobody = labels.iloc[60:62].assign(id=[None, None])
    kept = labels.drop(index=range(5500, 5900))
    found = judge(predictions, pandas.concat([kept, same, other, strange, nobody]), within="12h")
    total = sum(state.counts for state in found.states.values())
    named = dict(
        zip(["rows", "labelled", "not_counted", "late", "waiting", "never", "early"], total, strict=True)
    )
    assert named == {
        "rows": ROWS,
        "labelled": ROWS - 400 - 10 - 3,
        "not_counted": 3,
        "late": 10,
        # rows of the last twelve hours before the latest time, that of the last label, may still get one
        "waiting": sum(5500 <= i < 5900 and (ROWS - 1 - i) * 72 + 6 * 3600 <= 12 * 3600 for i in range(ROWS)),
        "never": sum(5500 <= i < 5900 and (ROWS - 1 - i) * 72 + 6 * 3600 > 12 * 3600 for i in range(ROWS)),
        "early": 5,
    }
    assert found.labels.unknown == 7
    assert (found.labels.twice, found.labels.contradicted) == (4 + first_said, 3 - first_said)
    assert found.labels.without_key == 2
    text = str(found)
    for words in (
        "nobody scored",
        "came again with the same value",
        "no key",
        "the clocks disagree",
        "too late",
    ):
        assert words in text


def test_labels_that_contradict_each_other_at_once_do_not_count() -> None:
    scores = pa.table({"id": ["a", "b", "c"], "prediction": [1.0, 2.0, 3.0]})
    labels = pa.table({"id": ["a", "a", "b", "b", "b", "c"], "y": [1.0, 4.0, 2.0, 2.0, 2.0, 5.0]})
    found = og.quality(scores, labels, on="id", label="y", scale=10.0)
    (line,) = found.to_arrow().to_pylist()
    assert (line["labelled"], line["waiting"], line["mae"], line["error"]) == (2, 1, 1.0, 51 / 512)
    assert (found.labels.contradicted, found.labels.twice, found.labels.unknown) == (1, 2, 0)


def test_an_alarm_names_the_version_and_the_window_whose_errors_grew() -> None:
    predictions, labels = tables()
    still = judge(predictions, labels, window="6h", slices=["place"])
    assert still.alarms() == []  # without a baseline nothing rings
    watched = judge(predictions, labels, window="6h", baseline=still)
    assert watched.alarms() == []
    worse = labels.copy()
    late = worse.id >= 4500
    worse.loc[late & (worse.id % 2 == 0), "late"] = "yes"
    alarms = judge(predictions, worse, window="6h", baseline=still).alarms()
    assert [alarm.group.version for alarm in alarms] == ["2"]
    day = START + np.timedelta64(72 * 4500, "s")
    assert (
        np.timedelta64(0, "h")
        <= np.datetime64(alarms[0].group.time.replace(tzinfo=None)) - day
        <= np.timedelta64(18, "h")
    )
    assert alarms[0].evidence >= 5
    assert "errors grew to" in str(judge(predictions, worse, window="6h", baseline=0.2))


def test_business_metrics_in_sql_and_of_columns() -> None:
    predictions, labels = tables()
    found = judge(
        predictions,
        labels.iloc[:5000],
        business={
            "cost": "case when prediction = 'yes' and late = 'no' then price end",
            "sales": og.col("price"),
        },
        slices={"dear": og.col("price") > 5},
    )
    pairs = predictions.merge(labels.iloc[:5000], on="id")
    wrong = pairs[(pairs.prediction == "yes") & (pairs.late == "no")]
    lines = found.over().to_arrow().to_pylist()
    everything = [line for line in lines if line["slice"] == ""]
    assert sum(line["cost"] for line in everything) == pytest.approx(wrong.price.sum())
    assert sum(line["sales"] for line in everything) == pytest.approx(pairs.price.sum())
    first = next(line for line in everything if line["version"] == "1")
    assert first["cost_mean"] == pytest.approx(wrong[wrong.model_version == "1"].price.mean())
    dear = [line for line in lines if line["slice"] == "dear=true"]
    assert sum(line["cost"] for line in dear) == pytest.approx(wrong[wrong.price > 5].price.sum())


def test_names_of_the_table_of_quality_are_all_kept_for_it() -> None:
    predictions, labels = tables()
    numbers = pa.table({"id": [1, 2], "prediction": [1.0, 2.0]})
    letters = pa.table({"id": [1, 2, 3], "prediction": ["a", "b", "c"]})
    truth = {"on": "id", "label": "y"}
    tests = [
        judge(predictions, labels, window="6h", times=("made", "seen")),
        og.quality(numbers, numbers.rename_columns(["id", "y"]), **truth),
        og.quality(letters, letters.rename_columns(["id", "y"]), **truth),
    ]
    names = {name for one in tests for name in one.to_arrow().column_names}
    assert {name for name in names if not name.startswith(ESTIMATED)} <= TAKEN


def test_before_labels_the_probabilities_say_how_good_they_are() -> None:
    predictions, labels = tables()
    before = og.quality(predictions).to_arrow().to_pylist()
    after = judge(predictions, labels).to_arrow().to_pylist()
    for estimate, line in zip(before, after, strict=True):
        assert "accuracy" not in estimate
        assert estimate["estimated_accuracy"] == pytest.approx(line["accuracy"], abs=0.02)
        assert estimate["estimated_accuracy_low"] < line["accuracy"] < estimate["estimated_accuracy_high"]


def test_predictions_of_a_model_and_of_the_log_of_the_server(tmp_path: Path) -> None:
    """Classes that are numbers, and the columns `version` and `role` of the server's log."""
    rng = np.random.default_rng(0)
    rows = pandas.DataFrame({"x": rng.normal(size=300)})
    rows["y"] = (rows.x + rng.normal(size=300) > 0).astype(int)
    model = og.LogisticRegression().fit(rows, "y")
    model.save(tmp_path / "model")
    log = pandas.DataFrame({"row": range(300), "prediction": model.predict(rows[["x"]]), "role": "primary"})
    log["version"] = "7"
    found = og.quality(log, rows.assign(row=range(300)), on="row", label="y", model=tmp_path / "model")
    (line,) = found.to_arrow().to_pylist()
    assert (line["version"], line["role"]) == ("7", "primary")
    assert line["accuracy"] == pytest.approx((log.prediction == rows.y).mean())
    by_hand = og.quality(log, rows.assign(row=range(300)), on="row", label="y", classes=[0, 1])
    assert by_hand.to_arrow().equals(found.to_arrow())
    numbers = og.quality(log, rows.assign(row=range(300)), on="row", label="y").to_arrow().to_pylist()
    assert numbers[0]["mae"] == pytest.approx(mean_absolute_error(rows.y, log.prediction))


def test_no_rows_no_labels_and_one_class() -> None:
    predictions, labels = tables()
    nothing = judge(predictions.iloc[:0], labels)
    assert nothing.states == {}
    assert nothing.labels.unknown == ROWS
    assert "No predictions were there." in str(nothing)
    unlabelled = judge(predictions, labels.iloc[:0])
    assert "6,000 rows wait" in str(unlabelled)
    one = judge(predictions, labels.assign(late="no"))
    assert "All labels are of one class" in str(one)
    assert np.isnan(one.to_arrow()["roc_auc"].to_pylist()[0])


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"on": ()}, ParameterError, "Labels need on="),
        ({"on": "key"}, ColumnNotFoundError, "The predictions have no column 'key'"),
        ({"label": "truth"}, ColumnNotFoundError, "The labels have no column 'truth'"),
        ({"times": None, "window": "1d"}, ParameterError, "need times"),
        ({"window": "1 fortnight"}, ParameterError, "is no length of time"),
        ({"error": "absolute"}, ParameterError, "'brier' and 'wrong' is"),
        ({"slices": ["town"]}, ColumnNotFoundError, "The predictions have no column 'town'"),
        ({"slices": {"old": 60}}, ParameterError, "Slices are columns or conditions"),
        ({"times": ("price", "seen")}, SchemaError, "'price' holds double, no times"),
        ({"times": ("place", "seen")}, DataError, "'place' holds text that is no time"),
        ({"business": {"cost": "sum(price)"}}, ParameterError, "does not look at each row alone"),
        ({"business": {"cost": "place"}}, ParameterError, "'cost' is place, which makes string of each row"),
        ({"business": {"cost": " "}}, ParameterError, "'cost' is empty"),
        ({"business": {"cost": 5}}, ParameterError, "'cost' is 5. Give an expression"),
        ({"business": {"cost": og.col("place")}}, ParameterError, "makes string of each row"),
        ({"business": {"cost": og.col("town")}}, ParameterError, "cannot be computed.*The columns are id"),
        ({"business": ["cost"]}, ParameterError, "is no mapping from names"),
        ({"business": {"accuracy": "price"}}, ParameterError, "columns accuracy already"),
        ({"business": {"a": "price", "a_mean": "price"}}, ParameterError, "columns a_mean already"),
        ({"slices": {"old": og.col("price")}}, ParameterError, "makes double, no condition"),
        ({"slices": {"old": og.col("town") > 3}}, ParameterError, "cannot be computed"),
        ({"slices": {"old": og.col("place") > 3}}, ParameterError, "cannot be computed"),
        ({"classes": ["a", "b", "c"]}, DataError, "3 classes and 2 columns"),
        ({"until": "soon"}, ParameterError, "'soon' is no time"),
    ],
)
def test_what_does_not_fit_is_refused(settings: dict[str, Any], error: type[Exception], message: str) -> None:
    predictions, labels = tables()
    with pytest.raises(error, match=message):
        judge(predictions, labels, **settings)


def test_keys_of_other_types_never_meet_and_are_refused() -> None:
    predictions, labels = tables()
    with pytest.raises(SchemaError, match="'id' is int64 in the predictions and string in the labels"):
        judge(predictions, labels.assign(id=labels.id.astype(str)))
    two = judge(
        predictions,
        labels.assign(id=labels.id.astype("int32"), model_version="1"),
        on=["id", "model_version"],
    )
    assert [int(state.counts[1]) for state in two.states.values()] == [3000, 0]


def test_spans_of_time() -> None:
    times = pa.array(["2026-03-05T13:30:00Z"]).cast(pa.timestamp("us", "UTC"))
    starts = {
        text: Span.of(text).floor(times)[0].as_py()
        for text in ("15min", "6 hours", "1d", "week", "1mo", "1y")
    }
    assert {text: f"{start:%m-%d %H:%M}" for text, start in starts.items()} == {
        "15min": "03-05 13:30",
        "6 hours": "03-05 12:00",
        "1d": "03-05 00:00",
        "week": "03-02 00:00",
        "1mo": "03-01 00:00",
        "1y": "01-01 00:00",
    }
    assert Span.of("1mo").end(moment("2026-12-01")) == moment("2027-01-01T01:00:00+01:00")
    assert str(Span.of("15min")) == "15min"
    assert Span.of("1y").end(moment("2024-01-01")) == moment("2025-01-01")
