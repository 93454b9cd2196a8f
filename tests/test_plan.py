"""What a job will take, told before it runs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.base import clone

import outgrow as og
from outgrow.cli import main
from outgrow.errors import DataError, InputNotFoundError, JobFileError, ParameterError
from outgrow.planning import history
from outgrow.planning.accelerators import costs
from outgrow.planning.cheaper import Ring, Rival, metric_of
from outgrow.planning.curve import curve_of
from outgrow.planning.deployment import Need, ways
from outgrow.planning.forecast import forecast, seconds_of
from outgrow.planning.history import Constants, Expected
from outgrow.planning.network import Network
from outgrow.planning.page import plan_page
from outgrow.planning.places import Accelerator, Machine, Prices, federated, places, read_prices
from outgrow.planning.probe import Answers, Loss, Probe, Prober, Request, Size
from outgrow.planning.strategies import Training, strategies

ANSWERS = Answers(rows_a_second=1e6, median_ms=1.0, p99_ms=3.0, nbytes=50_000, onnx="")
SIZES = [2_000, 8_000, 32_000, 128_000]


# ---- time and memory -------------------------------------------------------------------------------------


@pytest.mark.parametrize("fixed", [0.0, 0.5, 3.0])
def test_time_is_what_it_is_made_of(fixed: float) -> None:
    random = np.random.default_rng(1)
    for per_row in (1e-7, 1e-5, 1e-3):
        took = [(fixed + per_row * n) * random.normal(1, 0.03) for n in SIZES]
        truth = fixed + per_row * 2_000_000
        estimate = seconds_of(SIZES, took, 2_000_000)
        if per_row * SIZES[-1] > 0.2 * fixed:  # else no sample shows what a row costs
            assert estimate.value == pytest.approx(truth, rel=0.2)
        assert estimate.low <= truth <= estimate.high
        assert estimate.low <= estimate.value <= estimate.high


def test_one_sample_says_little() -> None:
    estimate = seconds_of([1000], [2.0], 10_000)
    assert (estimate.low, estimate.value) == (2.0, 20.0)


def test_a_query_that_was_run_is_not_extrapolated() -> None:
    probes = [
        Probe(n, {"read and join": 1e-6 * n, "fit": 1e-4 * n, "report": 1.0}, 300_000_000 + 100 * n, 9, {})
        for n in SIZES
    ]
    known = forecast(probes, Size(1_000_000, 80_000_000, 1, 2.5, 1.0))
    assert known.stages["read and join"].value == 2.5
    assert known.stages["fit"].value == pytest.approx(100, rel=0.01)
    assert known.seconds.value == pytest.approx(1.0 + 2.5 + 100 + 1.0, rel=0.02)
    one = forecast(probes[:1], Size(1_000_000, 80_000_000, 1, 2.5, 1.0))
    assert one.stages["report"].value == 1.0  # however few samples there were
    slower = Constants({"fit": 1.5}, memory=1.2, runs=1)
    corrected = forecast(probes, Size(1_000_000, 80_000_000, 1, 2.5, 1.0), slower)
    assert corrected.seconds.value == pytest.approx(known.seconds.value + 0.5 * known.stages["fit"].value)
    assert corrected.memory.value == pytest.approx(1.2 * known.memory.value)
    assert corrected.stages["fit"].formula.startswith("1.5 x (")
    assert known.memory.value > 300_000_000 + 80_000_000


# ---- is a sample enough ----------------------------------------------------------------------------------


def losses(a: float, b: float, c: float, noise: float, seed: int) -> list[Loss]:
    random = np.random.default_rng(seed)
    sizes = [1000 * 2**k for k in range(6)]
    return [Loss(n, list(a + b * n**-c + random.normal(0, noise / n**0.5, 3))) for n in sizes]


def test_curves_hold_what_comes() -> None:
    """The interval of 90 % holds the loss of all rows for at least 85 % of curves of any form."""
    random, held, said = np.random.default_rng(0), 0, 0
    for seed in range(60):
        a, b, c = random.uniform(0.1, 0.6), random.uniform(0.5, 5), random.uniform(0.3, 1.0)
        curve = curve_of(losses(a, b, c, 0.05, seed), 500_000)
        if not curve.refused:
            said += 1
            held += curve.low - 1e-4 <= a + b * 500_000**-c <= curve.high + 1e-4
    assert said >= 40
    assert held >= 0.85 * said


def test_a_flat_curve_says_that_a_sample_is_enough() -> None:
    curve = curve_of(losses(0.4, 20.0, 1.0, 0.01, 0), 1_000_000)
    assert not curve.refused
    assert curve.enough is not None
    assert 15_000 < curve.enough < 30_000  # 20 / n is 0.001 at 20,000
    assert curve.share == pytest.approx(curve.enough / 1_000_000)
    assert "of the rows" in str(curve)
    assert curve.at(np.array([1000.0]))[0] == pytest.approx(0.42, abs=0.002)


def test_curves_that_cannot_be_drawn_are_refused() -> None:
    rising = [Loss(1000 * 2**k, [0.4 + 0.01 * k] * 3) for k in range(5)]
    assert "rises from 1,000 to 2,000" in curve_of(rising, 10**6).refused
    assert "too few" in curve_of(rising[:3], 10**6).refused
    assert (
        "largest sample has 16,000 of 100,000,000"
        in curve_of(losses(0.4, 1, 0.5, 0.01, 0)[:5], 10**8).refused
    )
    assert "not finite" in curve_of([Loss(n, [np.inf] * 3) for n in SIZES], 10**6).refused
    assert "cannot be said" in str(curve_of([], 10))


# ---- where, and how --------------------------------------------------------------------------------------


def test_places_begin_with_this_machine_and_keep_to_their_formulas(tmp_path: Path) -> None:
    probes = [Probe(n, {"fit": 1e-3 * n, "report": 1.0}, 400 << 20, 10, {}) for n in SIZES]
    size = Size(10_000_000, 8 << 30, 100, None, 1.0)
    known = forecast(probes, size)
    prices = Prices("USD", [Machine("small", 4, 16, 0.2), Machine("large", 16, 64, 0.8)])
    found = places(known, size, 2, 4 << 30, network=Network(), prices=prices, executors=(2, 8))
    here, two, eight = found
    assert here.where == "this machine"
    assert here.spilled > 4 << 30
    assert here.seconds.value > two.seconds.value > eight.seconds.value
    work = 1.15 * known.seconds.value * 2 / 32
    assert work < eight.seconds.value < 1.3 * work + 20
    assert eight.price == pytest.approx(eight.seconds.value / 3600 * 0.2 * 9)
    slow = places(known, size, 2, 4 << 30, network=Network(1.0, 100.0), prices=prices, executors=(8,))[1]
    assert slow.seconds.value > eight.seconds.value + 10 * 64e-6 * 100_000
    sites = federated(known, 2, 4, Network(10.0, 50.0))
    assert sites.seconds.value > known.stages["fit"].value / 4
    shipped = read_prices()
    assert shipped.currency == "USD"
    assert len(shipped.machines) >= 3
    assert shipped.accelerators[0].networks


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("machines: [{name: a}]", "no list of prices"),
        ("currency: EUR\nmachines: []", "there are no machines"),
        ("currency: EUR\nmachines: [{name: a, cores: 0, memory_gib: 4, price: 1}]", "a has 0 cores"),
        ("- 1", "no list of prices"),
        ("a: [", "no list of prices"),
    ],
)
def test_prices_that_are_none(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "prices.yaml").write_text(text)
    with pytest.raises(ParameterError, match=said):
        read_prices(tmp_path / "prices.yaml")
    with pytest.raises(InputNotFoundError, match=r"none\.yaml cannot be read"):
        read_prices(tmp_path / "none.yaml")


def test_machines_without_a_price_are_ones_own() -> None:
    training = Training(parameters=1_000, step=0.01, batch_size=100, epochs=5, share=0.8)
    own, unknown = costs(
        training, 2, Prices("EUR", [Machine("own", 4, 16, 0)], [Accelerator("gpu", 16, 64, 3.0)])
    )
    assert own.cost == 0
    assert unknown.formula == "nothing is stated"


@pytest.mark.parametrize(
    ("need", "wanted"),
    [
        (Need(), ["batch"]),
        (Need(rate=5e6), []),
        (Need(latency_ms=50), ["HTTP"]),
        (Need(latency_ms=5), ["browser or device, by ONNX"]),
        (Need(fresh_seconds=30), ["stream"]),
        (Need(fresh_seconds=1), ["HTTP"]),
        (Need(offline=True), ["browser or device, by ONNX"]),
    ],
)
def test_the_way_to_answer_follows_from_the_need(need: Need, wanted: list[str]) -> None:
    assert [way.name for way in ways(ANSWERS, need) if way.fits] == wanted


def test_ways_say_what_they_need() -> None:
    answers = replace(ANSWERS, cold_seconds=1.5)
    batch, _, http, _ = ways(answers, Need(latency_ms=50, rate=400, volume=2e6))
    assert "2,000,000 rows a day take 2 s" not in batch.because  # somebody waits
    assert "answers after 1.5 s, so keep one running (600 rows wait" in http.because
    batch = ways(answers, Need(volume=2e6))[0]
    assert "2,000,000 rows a day take 2 s" in batch.because
    assert not ways(answers, Need(volume=1e6 * 86_401))[0].fits


# ---- another algorithm -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ring() -> Ring:
    """Rows of which a line says all; half of them held out."""
    random = np.random.default_rng(3)
    X = random.normal(size=(4_000, 3))
    y = X[:, 0] + 0.5 * random.normal(size=4_000) > 0
    table = pa.table({"a": X[:, 0], "b": X[:, 1], "c": X[:, 2], "w": np.ones(4_000), "y": y})
    forest = og.RandomForestClassifier(n_estimators=5, max_depth=6, random_state=0)
    return Ring(og.Pipeline([og.StandardScaler(), forest]), "y", "w", table[:2_000], table[2_000:])


def test_a_cheaper_algorithm_is_judged_on_the_same_rows(ring: Ring) -> None:
    model = clone(ring.pipeline).fit(ring.learn, "y", sample_weight="w")
    linear, boosted = ring.rivals(model, 60.0, lambda: 100.0)
    assert (linear.name, boosted.name) == ("LogisticRegression", "GradientBoostingClassifier")
    assert linear.job_loss == pytest.approx(
        model.evaluate(ring.held, "y", sample_weight="w")["log_loss"], rel=1e-6
    )
    assert linear.low < linear.loss - linear.job_loss < linear.high < 0  # a line it is
    assert linear.as_good(0.0, 0.001)
    assert not linear.as_good(0.5, 0.001)  # the job's model learns much from more rows
    assert not replace(linear, seconds=40.0).as_good(0.0, 0.001)  # not cheaper
    assert not list(ring.rivals(model, 0.1, lambda: 100.0))  # nothing to save
    assert not list(ring.rivals(model, 60.0, lambda: 1.0))  # no time


def test_losses_of_models_without_probabilities_are_errors(ring: Ring) -> None:
    model = og.LinearSVC().fit(ring.learn, "y", sample_weight="w")
    assert metric_of(model) == "error_rate"
    assert {rival.metric for rival in ring.rivals(model, 60.0, lambda: 100.0)} == {"error_rate"}


# ---- a network -------------------------------------------------------------------------------------------


def test_strategies_and_costs_of_a_network_follow_their_formulas() -> None:
    training = Training(parameters=1_000_000, step=0.01, batch_size=100, epochs=5, share=0.8)
    assert training.steps(1_000_000) == 40_000
    slow = strategies(training, 1_000_000, Network(100.0, 25.0), 8e9, (2, 4))
    plain, best = (way for way in slow if way.ranks == 4)
    assert (plain.words["name"], plain.advised, best.advised) == ("ddp", False, True)
    assert best.seconds < plain.seconds
    sent = 2 * 3 / 4 * 4e6
    assert plain.step == pytest.approx(0.01 / 4 + 2 * 0.025 + 8e-6 * sent / 100)
    assert plain.seconds == pytest.approx(40_000 * plain.step)
    assert plain.sent == pytest.approx(40_000 * sent)
    assert not strategies(training, 1_000_000, Network(), 1e6, (2,))  # 16 MB by Adam in 2 MB
    machines = [Machine("plain", 4, 16, 0.2)]
    stated = Accelerator("gpu", 16, 64, 1.6, [[10_000, 1.0], [100_000_000, 16.0]])
    gpu, plain_cost, unknown = costs(
        training, 2, Prices("USD", machines, [stated, replace(stated, networks=())])
    )
    assert gpu.times == pytest.approx(4.0)  # halfway by the logarithm
    assert plain_cost.cost == pytest.approx(0.01 / 100 * 5 * 1e6 * 2 / 4 * 0.2 / 3600)
    assert gpu.cost == pytest.approx(0.01 / 100 * 5 * 1e6 * 2 / 16 / 4 * 1.6 / 3600)
    assert (unknown.cost, unknown.times) == (None, None)
    assert "pays from 2 times" in unknown.formula


# ---- a job -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plan")
    random = np.random.default_rng(0)
    X = random.normal(size=(40_000, 3))
    late = X[:, 0] + random.normal(size=40_000) > 0
    table = pa.table({"a": X[:, 0], "b": X[:, 1], "c": X[:, 2], "late": late})
    pq.write_table(table, folder / "rows.parquet", row_group_size=1_000)
    (folder / "job.yaml").write_text(
        "name: late\ndata: {path: rows.parquet}\ntarget: late\n"
        f"model: {{LogisticRegression: {{}}}}\noutput: {folder / 'out'}\ntrack: plans.db\n"
    )
    return folder / "job.yaml"


def test_a_job_is_planned_run_and_compared(
    job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(history.FOLDER, str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="0"):
        main(["plan", str(job), "-o", str(tmp_path / "plan.json"), "--seconds", "6", "--latency", "50"])
    shown = capsys.readouterr().out
    assert "No cluster is needed" in shown
    told: dict[str, Any] = json.loads((tmp_path / "plan.json").read_text())
    assert told["size"]["rows"] == 40_000
    assert told["size"]["pieces"] == 40
    assert [probe["rows"] for probe in told["probes"]][:2] == [2_000, 8_000]
    assert {"fit", "evaluate", "profile"} <= set(told["stages"])
    assert told["places"][0]["where"] == "this machine"
    assert told["answers"]["nbytes"] > 0
    assert history.constants() == Constants()
    with pytest.raises(SystemExit, match="0"):
        main(["run", str(job), "--overwrite"])
    assert "planned" in capsys.readouterr().out
    assert history.constants().runs == 1
    (compared,) = history.earlier(str(job))
    assert compared.planned.seconds == pytest.approx(sum(compared.planned.stages.values()))
    assert set(compared.took.stages) == set(told["stages"])
    with og.EventLog("plans.db") as log:
        made, met = log.since(kinds=("plan.made", "plan.met"))
        (ended,) = log.since(kinds=("run.ended",))
    assert (made.subject, met.subject) == ("late", "late")
    assert met.cause == made.digest
    assert met.body["run"] == ended.subject
    assert made.body["seconds"]["low"] <= made.body["seconds"]["value"] <= made.body["seconds"]["high"]
    assert {**compared.took.stages} == met.body["took"]["stages"]
    assert made.body["places"] == told["places"]


def test_constants_are_learned_stage_by_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mean of what runs were off by, however far earlier plans were corrected already."""
    monkeypatch.setenv(history.FOLDER, str(tmp_path))
    for _ in range(9):
        known = history.constants()
        fit, memory = 10.0 * known.of("fit"), 1e9 * known.memory
        history.note("job.yaml", [], Expected(fit + 0.01, memory, {"fit": fit, "save": 0.01}), known)
        history.met("job.yaml", [], Expected(16.0, 1.2e9, {"fit": 15.0, "save": 1.0}))
    known = history.constants()
    assert known.of("fit") == pytest.approx(1.5, rel=0.05)
    assert known.memory == pytest.approx(1.2, rel=0.02)
    assert known.of("save") == 1.0  # too short to tell
    with history.path().open("a") as file:
        file.write('{"job": "of another version", "took": 3}\n{"cut off')
    assert history.constants() == known
    assert len(history.earlier("job.yaml")) == 9
    assert history.met("other.yaml", [], Expected(1.0, 1.0, {})) is None


def test_a_network_is_planned(job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(history.FOLDER, str(tmp_path / "cache"))
    wanted = "{TorchClassifier: {module__hidden: [16], max_epochs: 3, batch_size: 50}}"
    path = job.parent / "network.yaml"
    path.write_text(
        job.read_text().replace("{LogisticRegression: {}}", wanted).replace("track: plans.db", "")
    )
    made = og.plan(path, seconds=4, executors=(2,))
    assert made.strategies[0].ranks == 2
    assert {cost.hardware for cost in made.costs} >= {"4 cores"}
    assert made.answers.cold_seconds is not None
    rival = Rival("LogisticRegression", 0.1, 2.0, 1_600, 400, "log_loss", 0.5, 0.51, -0.02, -0.001)
    line = replace(made.curve, refused="", low=0.51)
    advice = replace(made, rivals=[rival], curve=line).advice
    assert "LogisticRegression is as good and cheaper, even beside this model on all rows" in advice[1]
    advice = replace(made, rivals=[rival], curve=replace(line, refused="too few")).advice
    assert "Whether it stays so with more of them cannot be said" in advice[1]
    page = plan_page(replace(made, rivals=[rival]))
    assert all(f'id="{part}"' in page for part in ("rivals", "strategies", "costs", "formulas"))
    assert made.strategies[0].formula in page


def test_a_class_that_small_samples_lack(job: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(4)  # none of the six are in the first sample
    late = np.zeros(20_000, dtype=bool)
    late[random.permutation(20_000)[:6]] = True
    table = pa.table({"a": random.normal(size=20_000), "late": late})
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=5_000)
    path = tmp_path / "job.yaml"
    path.write_text(job.read_text().replace("track: plans.db", ""))
    told: list[Any] = []
    Prober(Request(str(path), seconds=0.5), told.append, tmp_path).run()
    first = next(thing for thing in told if isinstance(thing, Probe))
    assert first.rows > 2_000


def test_mistakes_are_said(job: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["plan", str(job), "--set", "model.CC=1"])
    assert "CC" in capsys.readouterr().err
    wrong = tmp_path / "job.yaml"
    wrong.write_text(job.read_text().replace("rows.parquet", "none.parquet"))
    with pytest.raises(DataError, match=r"cannot be run on a sample.*none\.parquet"):
        og.plan(wrong, seconds=2)
    with pytest.raises(JobFileError):
        og.plan(job, settings=["model.CC=1"], seconds=2)
    given: list[dict[str, Any]] = [{"executors": (0,)}, {"seconds": 0}, {"need": Need(rate=-1)}, {"sites": 0}]
    for numbers in given:
        with pytest.raises(ParameterError, match="numbers above 0"):
            og.plan(job, **numbers)


def test_rows_that_a_job_sets_aside_are_not_planned_with(
    job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(history.FOLDER, str(tmp_path / "cache"))
    table = pq.read_table(job.parent / "rows.parquet").slice(0, 3_000)
    broken = pa.array([np.inf, *table["a"].to_pylist()[1:]])
    pq.write_table(
        table.set_column(0, "a", broken).append_column("id", table["b"]), tmp_path / "rows.parquet"
    )
    (tmp_path / "job.yaml").write_text(
        "name: late\ndata: {path: rows.parquet, drop: [id]}\ntarget: late\nmodel: LogisticRegression\n"
        "output: out\nexpect: {columns: {a: {range: [-10, 10]}, id: {type: number}}}\n"
    )
    made = og.plan(tmp_path / "job.yaml", seconds=2)
    assert made.size.rows == 3_000
    assert made.probes
