"""Early stopping on the last rows by a column of time: the same on any engine, as a split by hand says."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import outgrow as og
from outgrow.errors import DataError, ParameterError, SchemaError
from outgrow.testing import pieces_case

DAYS = 40


def drifting(rows: int = 400) -> pa.Table:
    """What holds in the first days holds no longer in the last."""
    random = np.random.default_rng(1)
    day = random.integers(0, DAYS, rows)
    x, other = random.normal(size=(2, rows))
    y = np.where(day < 0.8 * DAYS, x, -x) + 0.3 * random.normal(size=rows)
    date = [datetime.date(2026, 1, 1) + datetime.timedelta(days=int(k)) for k in day]
    return pa.table({"x": x, "other": other, "y": y, "date": date, "day": day})


def stopping(**more: Any) -> og.GradientBoostingRegressor:
    return og.GradientBoostingRegressor(
        n_estimators=40, early_stopping=True, validation_fraction=0.2, n_iter_no_change=3, **more
    )


def fitted(data: Any, column: str = "date", **more: Any) -> og.GradientBoostingRegressor:
    return stopping(**more).fit(data, "y", validation_time=column)


def test_the_last_rows_are_watched(engine: Any) -> None:
    """The losses are those of a model that saw the days before the border, on the days after it."""
    table = drifting().drop_columns(["day"])
    model = fitted(engine.open(table))
    assert model.features_ == ["x", "other"]
    day = np.array(table["date"].to_numpy(), dtype="datetime64[D]")
    late = day > np.quantile(day.astype(int), 0.8, method="inverted_cdf").astype("datetime64[D]")
    frame = table.to_pandas()
    watched = frame[late]
    squares = [
        np.mean((prediction - watched["y"]) ** 2)
        for prediction in model.staged_predict(watched[["x", "other"]])
    ]
    assert model.validation_loss_[: len(squares)] ** 2 == pytest.approx(squares, rel=1e-4)
    assert len(squares) == model.n_iter_ < len(model.validation_loss_)


def test_a_moment_is_a_number_a_date_or_a_time() -> None:
    table = drifting()
    frame = table.drop_columns(["day"]).to_pandas()
    loss = fitted(table.drop_columns(["date"]), "day").validation_loss_
    assert np.array_equal(fitted(table.drop_columns(["day"])).validation_loss_, loss)
    stamps = pd.to_datetime(frame["date"])
    assert np.array_equal(fitted(frame.assign(date=stamps.dt.tz_localize("UTC"))).validation_loss_, loss)
    X, y = frame[["x", "other"]].to_numpy(), frame["y"].to_numpy()
    assert np.array_equal(stopping().fit(X, y, validation_time=stamps.to_numpy()).validation_loss_, loss)


def test_rows_of_one_moment_stay_together() -> None:
    """The last day has more rows than the share: it is watched whole, and so are all but the first."""
    table = drifting().drop_columns(["date"])
    for share in (0.01, 0.9):
        day = (np.arange(400) >= 200).astype(float)
        both = table.set_column(table.column_names.index("day"), "day", pa.array(day))
        model = stopping().set_params(validation_fraction=share).fit(both, "y", validation_time="day")
        late = both.to_pandas()[day == 1]
        first = next(iter(model.staged_predict(late[["x", "other"]])))
        assert model.validation_loss_[0] ** 2 == pytest.approx(np.mean((first - late["y"]) ** 2), rel=1e-4)


@pytest.mark.parametrize("kind", [og.GradientBoostingClassifier, og.HistGradientBoostingClassifier])
@pytest.mark.parametrize("scoring", ["loss", "roc_auc"])
def test_classes_in_pipelines_and_any_partitioning(kind: Any, scoring: str, tmp_path: Any) -> None:
    table = drifting().drop_columns(["day"])
    words = np.where(table["y"].to_numpy() > 0, "up", "down")
    table = table.set_column(table.column_names.index("y"), "y", pa.array(words))
    models = []
    for pieces in (1, 3):
        pipe = og.Pipeline(
            [("scale", og.StandardScaler()), ("boost", kind(early_stopping=True, scoring=scoring))]
        )
        pipe.fit(pieces_case(pieces).open(table), "y", boost__validation_time="date")
        models.append(pipe)
    pipe = models[0]
    scores = [model.named_steps["boost"].scores_ for model in models]
    assert scores[0] == pytest.approx(scores[1], rel=1e-5)
    pipe.save(tmp_path / "model")
    assert og.load(tmp_path / "model").predict(table).equals(pipe.predict(table))


def test_what_is_wrong_is_said() -> None:
    table = drifting()
    with pytest.raises(ParameterError, match=r"validation_by, which holds out keys, or validation_time"):
        stopping().fit(table, "y", validation_by="day", validation_time="date")
    table = table.drop_columns(["date"])
    with pytest.raises(DataError, match=r"rows of one moment stay together"):
        fitted(table.set_column(3, "day", pa.array(np.zeros(400))), "day")
    gap = table.set_column(3, "day", pa.array([None, *[1.0] * 399]))
    with pytest.raises(DataError, match=r"1 row.* have no value in 'day'"):
        fitted(gap, "day")
    with pytest.raises(SchemaError, match="needs a column of times or numbers; 'day' holds string"):
        fitted(table.set_column(3, "day", pa.array(["monday"] * 400)), "day")


@pytest.mark.parametrize(
    "model",
    [
        og.GradientBoostingRegressor(n_estimators=40),
        og.HistGradientBoostingRegressor(max_iter=40),
    ],
)
@pytest.mark.parametrize("role", ["validation_by", "validation_time"])
def test_a_column_to_hold_out_by_means_early_stopping(model: Any, role: str) -> None:
    """Not asked for otherwise, it would be left aside without a word."""
    table = drifting().drop_columns(["date"])
    model.fit(table, "y", **{role: "day"})
    assert len(model.scores_)
    asked = type(model)(**{**model.get_params(), "early_stopping": True}).fit(table, "y", **{role: "day"})
    assert np.array_equal(asked.scores_, model.scores_)


@pytest.mark.parametrize(
    ("wrong", "advice"),
    [({"early_stopping": False}, "Give early_stopping=True"), ({"validation_fraction": None}, "a fraction")],
)
def test_a_column_to_hold_out_by_is_refused_where_nothing_is_held_out(
    wrong: dict[str, Any], advice: str
) -> None:
    table = drifting().drop_columns(["date"])
    model = stopping().set_params(**wrong)
    with pytest.raises(ParameterError, match=f"holds no rows out, so validation_time .*{advice}"):
        model.fit(table, "y", validation_time="day")
    pipe = og.Pipeline([("boost", model)])
    with pytest.raises(ParameterError, match=f"so boost__validation_by .*{advice}"):
        pipe.fit(table, "y", boost__validation_by="day")
