"""`python -m bench groups`: one model for each key, beside what people write today.

All times are medians of turns, A B C A B C, from a Parquet file to models and their errors in memory.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

import outgrow as og
from bench.data import FOLDER
from bench.machine import machine
from bench.spark import warm_session
from outgrow.data.batch import Batch

RESULTS = Path(__file__).parent / "results" / "groups" / "groups.json"
WIDTH = 10
INPUTS = [f"x{j}" for j in range(WIDTH)]
ROUNDS, DEPTH, BINS = 50, 4, 255
ANSWER = "key long, error double"


def table(groups: int, rows: int, *, skewed: bool = False) -> Path:
    """Rows of groups in no order; where they are skewed, one key has half of them."""
    path = FOLDER / f"groups-{groups}x{rows}{'-skewed' if skewed else ''}.parquet"
    if path.exists():
        return path
    FOLDER.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(groups)
    total = groups * rows
    key = random.permutation(np.repeat(np.arange(groups), rows))
    if skewed:
        key[random.random(total) < 0.5] = 0
    slopes = random.normal(size=(groups, WIDTH))
    with pq.ParquetWriter(path.with_suffix(".unfinished"), _part(key[:0], slopes, random).schema) as writer:
        for start in range(0, total, 250_000):
            writer.write_table(_part(key[start : start + 250_000], slopes, random))
    path.with_suffix(".unfinished").replace(path)
    return path


def _part(key: np.ndarray, slopes: np.ndarray, random: np.random.Generator) -> pa.Table:
    X = random.normal(size=(len(key), WIDTH))
    y = np.einsum("rp,rp->r", X, slopes[key]) + np.abs(X[:, 0]) + 0.5 * random.normal(size=len(key))
    return pa.table({"key": key, **{name: X[:, j] for j, name in enumerate(INPUTS)}, "y": y})


def errors(model: Any) -> np.ndarray:
    """The error of each group, in the order of the keys."""
    return model.groups_["rmse"].to_numpy()


def ridge() -> Any:
    return og.PerGroup(og.Ridge(), by=["key"])


def boosting() -> Any:
    inner = og.GradientBoostingRegressor(n_estimators=ROUNDS, max_depth=DEPTH, max_bins=BINS)
    return og.PerGroup(inner, by=["key"])


def local(make: Callable[[], Any]) -> Callable[[Path], np.ndarray]:
    return lambda path: errors(make().fit(og.read(str(path)), "y"))


def on_spark(make: Callable[[], Any]) -> Callable[[Path], np.ndarray]:
    return lambda path: errors(make().fit(og.read(str(path), engine=og.Spark(warm_session())), "y"))


def fitted_ridge() -> Any:
    from sklearn.linear_model import Ridge

    return Ridge()


def fitted_hist() -> Any:
    from sklearn.ensemble import HistGradientBoostingRegressor

    return HistGradientBoostingRegressor(
        max_iter=ROUNDS, max_depth=DEPTH, max_bins=BINS, early_stopping=False
    )


def fitted_xgboost() -> Any:
    from xgboost import XGBRegressor

    return XGBRegressor(n_estimators=ROUNDS, max_depth=DEPTH, max_bin=BINS, learning_rate=0.1, n_jobs=1)


def pandas_loop(make: Callable[[], Any]) -> Callable[[Path], np.ndarray]:
    """A loop over pandas' groupby; the models are kept in a dictionary."""

    def run(path: Path) -> np.ndarray:
        models, found = {}, {}
        for key, rows in pq.read_table(path).to_pandas().groupby("key"):
            X, y = rows[INPUTS].to_numpy(), rows["y"].to_numpy()
            models[key] = make().fit(X, y)
            found[key] = float(np.sqrt(np.mean((models[key].predict(X) - y) ** 2)))
        return np.array([found[key] for key in sorted(found)])

    return run


def apply_in_pandas(make: Callable[[], Any]) -> Callable[[Path], np.ndarray]:
    """Spark's `groupBy.applyInPandas`; the models are pickled, as people do to get them back."""

    def fit(rows: Any) -> Any:
        import pickle

        import pandas

        X, y = rows[INPUTS].to_numpy(), rows["y"].to_numpy()
        model = make().fit(X, y)
        error = float(np.sqrt(np.mean((model.predict(X) - y) ** 2)))
        kept = pickle.dumps(model)
        return pandas.DataFrame({"key": [rows["key"].iloc[0]], "error": [error], "model": [kept]})

    def run(path: Path) -> np.ndarray:
        frame = warm_session().read.parquet(str(path)).groupBy("key")
        found = frame.applyInPandas(fit, f"{ANSWER}, model binary").toArrow()
        return found.sort_by("key")["error"].to_numpy()

    return run


Contenders = dict[str, tuple[Callable[[Path], np.ndarray], Path]]
OURS, OURS_SPARK = "outgrow, here", "outgrow, Spark"
APPLY, LOOP = "applyInPandas, scikit-learn", "pandas loop, scikit-learn"
APPLY_XGBOOST = "applyInPandas, XGBoost"


def in_turns(contenders: Contenders, repeats: int) -> dict[str, list[float]]:
    """Seconds of each contender, after an untimed run on few rows."""
    few = table(120, 50)  # enough for kernels to be compiled
    for run, _ in contenders.values():
        run(few)
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    found: dict[str, np.ndarray] = {}
    for turn in range(repeats):
        for name, (run, path) in contenders.items():
            began = time.perf_counter()
            found[name] = run(path)
            seconds[name].append(time.perf_counter() - began)
            print(f"{name}, turn {turn + 1}: {seconds[name][-1]:.2f} s", file=sys.stderr, flush=True)
    for name, values in found.items():
        print(f"{name}: mean error {values.mean():.4f} of {len(values):,} groups", file=sys.stderr)
    return seconds


def closed_form(quick: bool, repeats: int) -> dict[str, Any]:
    path = table(200 if quick else 2000, 500)
    seconds = in_turns(
        {
            OURS: (local(ridge), path),
            OURS_SPARK: (on_spark(ridge), path),
            LOOP: (pandas_loop(fitted_ridge), path),
            APPLY: (apply_in_pandas(fitted_ridge), path),
        },
        repeats,
    )
    aims = [aim(seconds, OURS_SPARK, APPLY, 20), aim(seconds, OURS, LOOP, 10)]
    return {"title": "Ridge, 2,000 groups x 500 rows x 10 features", "seconds": seconds, "aims": aims}


def trees(quick: bool, repeats: int) -> dict[str, Any]:
    path = table(40 if quick else 400, 500)
    seconds = in_turns(
        {
            OURS: (local(boosting), path),
            OURS_SPARK: (on_spark(boosting), path),
            APPLY: (apply_in_pandas(fitted_hist), path),
            APPLY_XGBOOST: (apply_in_pandas(fitted_xgboost), path),
        },
        repeats,
    )
    aims = [
        aim(seconds, OURS_SPARK, APPLY, 2),
        aim(seconds, OURS_SPARK, APPLY_XGBOOST, 2),
        aim(seconds, OURS, APPLY, 2),
        aim(seconds, OURS, APPLY_XGBOOST, 2),
    ]
    return {
        "title": f"Gradient boosting, 400 groups x 500 rows, {ROUNDS} rounds of depth {DEPTH}",
        "seconds": seconds,
        "aims": aims,
    }


def skew(quick: bool, repeats: int) -> dict[str, Any]:
    even, skewed = (table(200 if quick else 2000, 500, skewed=each) for each in (False, True))
    few, half = (table(40 if quick else 400, 500, skewed=each) for each in (False, True))
    seconds = in_turns(
        {
            "Ridge, even": (local(ridge), even),
            "Ridge, skewed": (local(ridge), skewed),
            "Ridge on Spark, even": (on_spark(ridge), even),
            "Ridge on Spark, skewed": (on_spark(ridge), skewed),
            "Boosting, even": (local(boosting), few),
            "Boosting, skewed": (local(boosting), half),
            "Boosting on Spark, even": (on_spark(boosting), few),
            "Boosting on Spark, skewed": (on_spark(boosting), half),
        },
        repeats,
    )
    names = ("Ridge", "Ridge on Spark", "Boosting", "Boosting on Spark")
    aims = [aim(seconds, f"{name}, skewed", f"{name}, even", 1.3, most=True) for name in names]
    return {"title": "One key with half of all rows", "seconds": seconds, "aims": aims}


def many(quick: bool, repeats: int) -> dict[str, Any]:
    """100,000 groups, in a process of its own whose memory is measured."""
    path = table(10_000 if quick else 100_000, 50)
    code = (
        "import sys, time, resource; from pathlib import Path; from bench.groups import local, ridge\n"
        f"began = time.perf_counter(); found = local(ridge)(Path({str(path)!r}))\n"
        "print(len(found), time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    groups, seconds, peak = done.stdout.split()
    found = {
        "title": "Ridge, 100,000 groups x 50 rows x 10 features",
        "groups": int(groups),
        "seconds": {OURS: [float(seconds)]},
        "peak_bytes": int(peak) * 1024,
        "aims": [],
    }
    print(f"{found['title']}: {float(seconds):.1f} s, peak {int(peak) / 2**20:.2f} GiB", file=sys.stderr)
    return found


def store(quick: bool, repeats: int) -> dict[str, Any]:
    """A million models in one artifact: its size, and how long a key takes to be found and answered for."""
    groups = 100_000 if quick else 1_000_000
    path = table(groups, 4)
    with tempfile.TemporaryDirectory() as folder:
        model = ridge().fit(og.read(str(path)), "y")
        began = time.perf_counter()
        model.save(f"{folder}/models")
        saved = time.perf_counter() - began
        size = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
        code = f"from bench.groups import looked_up; looked_up({folder + '/models'!r}, {groups})"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found = {
        "title": f"{groups:,} ridge models of {WIDTH} features in one artifact",
        "bytes": size,
        "save_seconds": saved,
        **json.loads(done.stdout),
    }
    for name, value in found.items():
        print(f"{name}: {value}", file=sys.stderr)
    return found


def looked_up(path: str, groups: int) -> None:
    """Print what a fresh process takes to load the models, to find keys among them, and to answer."""
    from outgrow.groups.store import find
    from outgrow.ml.predictor import Predictor

    before = psutil.Process().memory_info().rss
    began = time.perf_counter()
    model = og.load(path)
    loaded = time.perf_counter() - began
    random = np.random.default_rng(0)
    hashes = model._router.models.hashes
    wanted = hashes[random.integers(0, len(hashes), 10_000)]
    predictor = Predictor(model)
    rows = [_row(int(key), random) for key in random.integers(0, groups, 1000)]
    told = {
        "load_seconds": loaded,
        "one_key_microseconds": 1e6 * _median_seconds(lambda i: find(hashes, wanted[i : i + 1]), 10_000),
        "keys_at_once_microseconds_each": 1e2 * _median_seconds(lambda i: find(hashes, wanted), 20),
        "one_row_answered_microseconds": 1e6
        * _median_seconds(lambda i: predictor.answer(rows[i], "predict"), len(rows)),
        "resident_growth_bytes": psutil.Process().memory_info().rss - before,
    }
    print(json.dumps(told))


def _row(key: int, random: np.random.Generator) -> Batch:
    row = {"key": pa.array([key]), **{name: pa.array(random.normal(size=1)) for name in INPUTS}}
    return Batch.from_arrow(pa.RecordBatch.from_pydict(row))


def _median_seconds(call: Callable[[int], Any], times: int) -> float:
    taken = []
    for turn in range(times):
        began = time.perf_counter()
        call(turn)
        taken.append(time.perf_counter() - began)
    return median(taken)


def aim(seconds: dict[str, list[float]], ours: str, peer: str, wanted: float, *, most: bool = False) -> Any:
    """A ratio of medians and what it should be."""
    mine, other = median(seconds[ours]), median(seconds[peer])
    ratio = mine / other if most else other / mine
    met = ratio <= wanted if most else ratio >= wanted
    sign = "≤" if most else "≥"
    print(
        f"{ours} and {peer}: {ratio:.2f}, aim {sign} {wanted:g}, {'met' if met else 'NOT MET'}",
        file=sys.stderr,
    )
    return {"ours": ours, "peer": peer, "ratio": ratio, "aim": f"{sign} {wanted:g}", "met": met}


PARTS: dict[str, Callable[[bool, int], dict[str, Any]]] = {
    "ridge": closed_form,
    "many": many,
    "store": store,
    "boosting": trees,
    "skew": skew,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench groups", description=__doc__)
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"which of {', '.join(PARTS)}; all by default"
    )
    parser.add_argument("--quick", action="store_true", help="a smoke test: a tenth of the groups, one turn")
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    found = {
        name: PARTS[name](asked.quick, 1 if asked.quick else asked.repeats) for name in asked.parts or PARTS
    }
    if not asked.quick and not asked.parts:
        text = json.dumps({"machine": machine(), "parts": found}, indent=1)
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(text + "\n")


if __name__ == "__main__":
    main()
