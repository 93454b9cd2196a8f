"""Watching goes on: through promotions, quiet hours, clocks that are wrong, and files that cannot be read."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import outgrow as og
from outgrow.cli import main
from outgrow.errors import ColumnNotFoundError, DataError, ParameterError
from outgrow.monitor.alerts import Alerts
from outgrow.monitor.look import Labels, Look, keep_looking, look
from outgrow.monitor.pairs import Group
from outgrow.monitor.telling import latest_windows, prometheus_metrics, raise_alerts

START = np.datetime64("2026-03-02T00:00:00")


def rows_of(hour: int, mean: float, count: int = 900, start: np.datetime64 = START) -> pa.Table:
    """Rows of one hour after a start."""
    rng = np.random.default_rng(hour)
    seconds = hour * 3600 + rng.integers(0, 3600, count)
    return pa.table({"time": start + seconds.astype("timedelta64[s]"), "x": rng.normal(mean, 1, count)})


def reference_around(mean: float) -> og.Reference:
    return og.Reference.of(pa.table({"x": np.random.default_rng(7).normal(mean, 1, 3_000)}))


def monitor_of(reference: og.Reference, folder: Path, **settings: Any) -> og.Monitor:
    return og.Monitor(reference, folder / "ops.db", **({"window": "1h", "name": "late"} | settings))


def written(rows: pa.Table, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows, path)
    return path


def alerts_of(monitor: og.Monitor) -> Alerts:
    """After one more look."""
    monitor.judge(open_too=True)
    alerts = Alerts(monitor.log, monitor.name)
    raise_alerts(alerts, monitor.view, monitor.kinds())
    return alerts


def verdicts(monitor: og.Monitor) -> list[tuple[int, int, str]]:
    return [(judged.start.hour, judged.rows, judged.verdict) for judged in monitor.judge(open_too=True)]


def test_rows_are_held_against_the_reference_they_were_counted_on(tmp_path: Path) -> None:
    before = monitor_of(reference_around(0), tmp_path)
    before.fold(rows_of(0, 0.0), time="time")
    assert verdicts(before) == [(0, 900, "ok")]
    before.fold(rows_of(1, 0.0), time="time")  # not judged before the promotion
    after = monitor_of(reference_around(3), tmp_path)
    after.fold(rows_of(0, 0.0, 200), time="time")  # late rows of an hour that was counted on the other
    after.fold(rows_of(2, 3.0), time="time")
    assert verdicts(after) == [(0, 200, "drift"), (1, 900, "ok"), (2, 900, "ok")]
    assert after.judge(open_too=True) == []
    late = Group("", "", "", int(START.astype("datetime64[us]").astype(int)))
    assert sorted(counts.rows for counts in after.counts(late).values()) == [200, 900]
    assert sorted(counts.rows for counts in after.counts(window="1d").values()) == [1_100, 1_800]
    assert after.drift(late).window.rows == 200
    assert after.kinds().keys() == {"x"}


def test_seasons_are_told_across_a_promotion(tmp_path: Path) -> None:
    for mean, hours in ((0.0, range(30)), (1.0, range(30, 60))):
        monitor = monitor_of(reference_around(mean), tmp_path, period="6h")
        monitor.fold(pa.concat_tables(rows_of(h, mean + 3.0 * (h % 6 > 3)) for h in hours), time="time")
        monitor.judge(open_too=True)
    assert monitor.kinds()["x"].name == "periodic"
    for path in (tmp_path / "windows").rglob("*.window"):
        path.unlink()
    assert "x" in monitor.kinds()  # without the counts, from the distances alone


def test_a_window_that_cannot_be_judged_keeps_no_other_from_it(tmp_path: Path) -> None:
    monitor = monitor_of(reference_around(0), tmp_path)
    monitor.fold(rows_of(0, 0.0), time="time")
    (file,) = (tmp_path / "windows").rglob("*.window")
    kept = file.read_bytes()
    file.unlink()
    monitor.fold(rows_of(1, 3.0), time="time")
    failed, drifted = monitor.judge(open_too=True)
    assert (failed.verdict, drifted.verdict) == ("cannot say", "drift")
    assert "It cannot be judged: The counts of a window are not at" in failed.because[0]
    assert monitor.judge(open_too=True) == []  # the same again is not said again
    file.write_bytes(kept)
    assert verdicts(monitor) == [(0, 900, "ok")]
    monitor.log.verify()


def test_findings_of_logs_that_name_no_reference_are_known(tmp_path: Path) -> None:
    monitor = monitor_of(reference_around(0), tmp_path)
    monitor.fold(rows_of(0, 0.0), time="time")
    (group,) = monitor.view.refreshed().parts
    start, end = group.time, monitor.view.ends[group]
    assert start is not None
    body = {"version": "", "role": "", "slice": "", "from": start.isoformat(), "to": end.isoformat()}
    body |= {"rows": 300, "verdict": "ok", "drifted": [], "findings": [], "distances": {"x": 0.01}}
    monitor.log.append("finding", "late", body | {"parts": monitor.view.mark(group)})
    assert monitor.judge(open_too=True) == []


@pytest.mark.parametrize("window", ["2h", "30min", "1d"])
def test_another_length_of_windows_is_refused_before_anything_is_written(window: str, tmp_path: Path) -> None:
    early = monitor_of(reference_around(0), tmp_path, window=window)  # it knows no windows yet
    monitor_of(reference_around(0), tmp_path, window="60min").fold(rows_of(1, 0.0), time="time")
    count = len(list(early.log.since(0)))
    with pytest.raises(ParameterError, match=r"of another length, such as 2026-03-02 01:00 to 2026-03-02 02"):
        monitor_of(reference_around(0), tmp_path, window=window)
    with pytest.raises(ParameterError, match="Give that length, or another name"):
        early.fold(rows_of(1, 0.0), time="time")
    assert len(list(early.log.since(0))) == count
    monitor_of(reference_around(0), tmp_path, window=window, name="other").fold(rows_of(1, 0.0), time="time")


def test_a_quiet_window_closes_no_alert_and_hides_none(tmp_path: Path) -> None:
    monitor = monitor_of(reference_around(0), tmp_path)
    monitor.fold(rows_of(0, 0.0), time="time")
    monitor.fold(rows_of(1, 3.0), time="time")
    monitor.fold(rows_of(2, 3.0, 10), time="time")  # quiet before the drift was told
    (alert,) = alerts_of(monitor).open()
    monitor.fold(rows_of(3, 3.0, 10), time="time")
    assert [one.id for one in alerts_of(monitor).open()] == [alert.id]
    assert 'outgrow_window_rows{model="late",version="",role=""} 10.0' in prometheus_metrics(monitor.view)
    monitor.fold(rows_of(4, 0.0), time="time")
    assert alerts_of(monitor).open() == []


def mostly_missing(mean: float, known: int, count: int, hour: int = 0) -> pa.Table:
    """Rows with some values of x, and all of another column."""
    rng = np.random.default_rng(hour)
    x = pa.array([*rng.normal(mean, 1, known), *[None] * (count - known)], pa.float64())
    return (
        rows_of(hour, 0.0, count).set_column(1, "x", x).append_column("y", pa.array(rng.normal(size=count)))
    )


def test_a_column_with_too_few_values_closes_no_alert_of_its_own(tmp_path: Path) -> None:
    monitor = monitor_of(og.Reference.of(mostly_missing(0.0, 3_000, 75_000).drop_columns("time")), tmp_path)
    for hour, (mean, known) in enumerate([(3.0, 900), (3.0, 20), (0.0, 900)]):
        monitor.fold(mostly_missing(mean, known, 22_500, hour), time="time")
        is_open = "column:x" in {alert.key for alert in alerts_of(monitor).open()}
        assert is_open is (hour < 2)


def test_a_quiet_version_keeps_its_alert_beside_one_that_is_well(tmp_path: Path) -> None:
    monitor = monitor_of(reference_around(0), tmp_path)

    def fold(hour: int, mean: float, count: int, version: str) -> None:
        rows = rows_of(hour, mean, count)
        monitor.fold(rows.append_column("version", pa.array([version] * count)), time="time")

    fold(0, 3.0, 900, "1")
    assert [alert.key for alert in alerts_of(monitor).open()] == ["column:x version 1"]
    fold(1, 3.0, 10, "1")
    fold(1, 0.0, 900, "2")
    assert [alert.key for alert in alerts_of(monitor).open()] == ["column:x version 1"]
    fold(2, 0.0, 900, "2")  # it answers no more
    assert alerts_of(monitor).open() == []


def test_rows_of_a_time_to_come_are_named_and_never_the_latest(tmp_path: Path) -> None:
    monitor = monitor_of(reference_around(0), tmp_path)
    monitor.fold(rows_of(0, 0.0), time="time")
    monitor.fold(rows_of(1, 3.0), time="time")
    (alert,) = alerts_of(monitor).open()
    folder = tmp_path / "log"
    written(rows_of(0, 3.0, 40, np.datetime64("2199-01-01T00:00:00")), folder / "a.parquet")
    seen = look(monitor, folder, Alerts(monitor.log, "late"), open_too=True)
    assert (seen.watched.rows, seen.watched.judged, seen.watched.gaps) == (40, (), ())
    assert seen.watched.ahead == {datetime.datetime(2199, 1, 1, tzinfo=datetime.UTC): 40}
    assert "40 rows are of a time to come, from 2199-01-01 00:00 on" in str(seen)
    assert [one.id for one in seen.open] == [alert.id]
    monitor.fold(rows_of(2, 3.0), time="time")
    assert [judged.start.hour for judged in monitor.judge(open_too=True)] == [2]
    assert [
        group.time.hour for group in latest_windows(monitor.view.refreshed()) if group.time is not None
    ] == [2]
    monitor.fold(rows_of(3, 3.0), time="time")
    assert monitor.judge() == []  # hour 3 may still get rows
    monitor.view.now = lambda: datetime.datetime(2199, 1, 1, tzinfo=datetime.UTC).timestamp()
    assert [(judged.start.year, judged.rows) for judged in monitor.judge(open_too=True)] == [
        (2026, 900),
        (2199, 40),
    ]


def test_a_clock_that_is_a_little_ahead_is_let_pass(tmp_path: Path) -> None:
    monitor = monitor_of(reference_around(0), tmp_path)
    monitor.view.now = lambda: float(START.astype("datetime64[s]").astype(int)) - 20 * 3600
    monitor.fold(rows_of(0, 3.0), time="time")
    assert verdicts(monitor) == [(0, 900, "drift")]


@pytest.mark.parametrize("window", ["30min", "90min", "1w", "1mo"])
def test_counts_of_windows_that_do_not_fit_are_refused(window: str, tmp_path: Path) -> None:
    length = "1w" if window == "1mo" else "2d" if window == "1w" else "1h"
    monitor = monitor_of(reference_around(0), tmp_path, window=length)
    monitor.fold(rows_of(0, 0.0), time="time")
    with pytest.raises(ParameterError, match=rf"window='{window}': windows of {length} do not fit into it"):
        monitor.counts(window=window)
    assert [counts.rows for counts in monitor.counts(window=length).values()] == [900]


def test_a_bad_file_keeps_no_other_from_being_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reference = written(
        pa.table({"x": np.random.default_rng(7).normal(0, 1, 3_000)}), tmp_path / "reference.parquet"
    )
    folder = tmp_path / "log"
    written(rows_of(0, 0.0), folder / "0.parquet")
    written(rows_of(1, 3.0).append_column("more", pa.array(["a"] * 900)), folder / "1.parquet")
    written(pa.table({"other": [1, 2]}), folder / "2.parquet")
    (folder / "3.parquet").write_bytes((folder / "0.parquet").read_bytes()[:-50])
    broken = bytearray((folder / "0.parquet").read_bytes())
    broken[4:400] = bytes(396)
    (folder / "4.parquet").write_bytes(broken)
    words = ["watch", str(reference), str(folder), "--log", str(tmp_path / "ops.db"), "--open-windows"]
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 3
    text = capsys.readouterr().out
    assert "1,800 new rows of 2 file(s); 2 window(s) judged." in text
    assert "2.parquet could not be counted: The rows have no column 'time' of times" in text
    assert "3.parquet could not be counted: " in text
    assert "4.parquet could not be counted: " in text
    written(rows_of(2, 0.0), folder / "3.parquet")  # written again
    with pytest.raises(SystemExit):
        main(words)
    text = capsys.readouterr().out
    assert "900 new rows of 1 file(s); 1 window(s) judged." in text
    assert "2.parquet could not be counted" in text


def test_where_no_file_could_ever_be_counted_it_is_an_error(tmp_path: Path) -> None:
    monitor = monitor_of(reference_around(0), tmp_path)
    written(rows_of(0, 0.0), tmp_path / "log" / "0.parquet")
    with pytest.raises(
        DataError, match=r"None of the 1 file.* could be counted; 0.parquet: The rows have no"
    ):
        monitor.watch(tmp_path / "log", time="when")
    assert monitor.watch(tmp_path / "log").rows == 900
    written(pa.table({"other": [1, 2]}), tmp_path / "log" / "1.parquet")
    assert list(monitor.watch(tmp_path / "log").unread) == ["1.parquet"]


def test_labels_are_met_beside_a_bad_file_which_is_said_once(tmp_path: Path) -> None:
    monitor, folder = monitor_of(reference_around(0), tmp_path), tmp_path / "log"
    answers = pa.array(["no", "yes"] * 450)
    rows = rows_of(0, 0.0).append_column("id", pa.array(range(900))).append_column("prediction", answers)
    written(rows, folder / "0.parquet")
    (folder / "1.parquet").write_bytes(b"PAR1")
    labels = Labels(
        written(pa.table({"id": range(900), "late": answers}), tmp_path / "labels.parquet"), ("id",), "late"
    )
    said: list[str] = []
    looks: list[Look] = []

    def once() -> Look:
        looks.append(look(monitor, folder, Alerts(monitor.log, "late"), labels=labels))
        return looks[-1]

    keep_looking(once, "1ms", said.append, lambda: len(looks) == 3)
    assert len(said) == 1
    assert "1.parquet could not be counted" in said[0]
    quality = looks[-1].quality
    assert quality is not None
    assert quality.over(None).to_arrow()["accuracy"].to_pylist() == [1.0]


def test_labels_that_cannot_be_met_hide_no_drift(tmp_path: Path) -> None:
    monitor, folder = monitor_of(reference_around(0), tmp_path), tmp_path / "log"
    written(rows_of(0, 3.0), folder / "0.parquet")
    labels = Labels(
        written(pa.table({"id": [1], "late": ["no"]}), tmp_path / "labels.parquet"), ("id",), "late"
    )
    alerts = Alerts(monitor.log, "late")
    with pytest.raises(ColumnNotFoundError):
        look(monitor, folder, alerts, labels=labels, open_too=True)
    assert [alert.key for alert in alerts.open()] == ["column:x"]
