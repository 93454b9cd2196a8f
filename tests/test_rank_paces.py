"""What each rank of a fit does is recorded: rows, seconds, memory; and those that the others wait for."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import outgrow as og
from outgrow.cli import main
from outgrow.deep.several import Ranks
from outgrow.engine.context import FitContext
from outgrow.engine.events import Event, emit
from outgrow.engine.rank_paces import PaceCounter, RankPaces, stragglers
from ranks import ranks

ROWS = 300


def pace(rank: int, seconds: float) -> dict[str, Any]:
    return {"rank": rank, "host": "h", "rows": 10, "seconds": seconds, "rows_per_second": 1.0, "memory": 1}


def table() -> pa.Table:
    x = np.random.default_rng(0).normal(size=ROWS)
    return pa.table({"x": x, "y": (x > 0).astype(int)})


def recorded(log: og.EventLog) -> list[dict[str, Any]]:
    return [dict(record.body) for record in log.since(0, kinds=("run.ranks",))]


def test_ranks_that_others_wait_for() -> None:
    assert stragglers([pace(0, 1.0), pace(1, 1.2), pace(2, 3.0)]) == [2]
    assert stragglers([pace(0, 1.0), pace(1, 1.9)]) == []
    assert stragglers([pace(0, 0.001), pace(1, 0.1)]) == []  # nobody waits for long
    assert stragglers([pace(0, 9.0)]) == []
    assert stragglers([]) == []


@pytest.mark.parametrize("counts", [[200, 100], [300, 0]], ids=["uneven", "one-has-none"])
def test_ranks_tell_each_other_what_they_have_done(counts: list[int]) -> None:
    seen: list[Event] = []

    def work(comm: Any) -> RankPaces | None:
        run = FitContext(comm)
        run.work = PaceCounter(comm.rank, comm.host, every=0.0)
        for _ in range(2):
            run.reduce(_Rows([table().slice(0, counts[comm.rank])]), lambda rows: np.array([rows.num_rows]))
        return run.paces

    with og.listen(seen.append):
        first, second = ranks(2, work)
    assert first == second
    assert [told["rows"] for told in first.listed()] == [2 * count for count in counts]
    assert all(told["memory"] > 1 << 20 for told in first.listed())
    assert [told["rank"] for told in seen[-1].ranks] == [0, 1]


def test_ranks_are_silent_where_it_is_too_soon_or_nobodys_affair() -> None:
    def work(comm: Any) -> list[RankPaces | None]:
        soon, private = FitContext(comm), FitContext(comm)
        private.work, private.tells_paces = PaceCounter(comm.rank, comm.host, every=0.0), False
        for run in (soon, private):
            run.reduce(_Rows([table()]), lambda rows: np.array([rows.num_rows]))
        return [soon.paces, private.paces]

    assert ranks(2, work) == [[None, None]] * 2


class _Rows:
    def __init__(self, batches: list[Any]) -> None:
        self._batches = batches

    def units(self) -> list[Any]:
        return [lambda batch=batch: iter([batch]) for batch in self._batches]


def test_a_fit_on_processes_says_what_each_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OUTGROW_CACHE", str(tmp_path / "cache"))
    log = og.track.start(tmp_path / "ops.db", sample=0)
    try:
        model = og.LinearRegression().fit(og.dataset(table(), engine=og.Local(processes=2)), "y")
    finally:
        og.track.stop()
    (body,) = recorded(log)
    assert (body["stage"], body["stragglers"]) == ("fit LinearRegression", [])
    assert [told["rank"] for told in body["ranks"]] == [0, 1]
    assert sum(told["rows"] for told in body["ranks"]) >= ROWS * model.fit_record_.passes
    assert all(told["rows_per_second"] == told["rows"] / told["seconds"] > 0 for told in body["ranks"])
    with pytest.raises(SystemExit) as ended:
        main(["runs", "show", "last", "--log", log.uri])
    assert ended.value.code == 0
    assert "ranks of fit LinearRegression" in capsys.readouterr().out


def test_records_of_ranks_are_some_seconds_apart_and_the_last_is_kept(tmp_path: Path) -> None:
    log = og.track.start(tmp_path / "ops.db", sample=0)
    try:
        with og.track.run("by hand"):
            for step in range(50):
                event = Event("fit A", "pass", step, ranks=[pace(0, 1.0), pace(1, 5.0 + step)])
                emit(event)
    finally:
        og.track.stop()
    first, last = recorded(log)
    assert first["ranks"][1]["seconds"] == 5.0
    assert last["ranks"][1]["seconds"] == 54.0
    assert first["stragglers"] == last["stragglers"] == [1]


def test_networks_tell_who_is_slow() -> None:
    """Of an epoch, the seconds count in which a rank did not wait for the other."""

    def work(comm: Any) -> RankPaces | None:
        run = FitContext(comm)
        several = Ranks(run, _Stepless(), None, None)
        began = time.perf_counter()
        time.sleep(0.3 * comm.rank)
        run.combine(np.ones(1))
        run.work.add(rows=7)
        several.worked(time.perf_counter() - began)
        return several.paces()

    first, second = ranks(2, work)
    assert first == second
    quick, slow = first.listed()
    assert quick["seconds"] < slow["seconds"]
    assert (quick["rows"], slow["rows"]) == (7, 7)


class _Stepless:
    step = 0
