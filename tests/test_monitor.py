"""Watching over time: windows that merge, judgements and alerts in the log, and the commands."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import outgrow as og
from outgrow.cli import main
from outgrow.errors import ArtifactError, ColumnNotFoundError, ParameterError
from outgrow.monitor.alerts import Alerts
from outgrow.monitor.channels import Call, Mail, Webhook, prometheus_text
from outgrow.monitor.distributions import pair
from outgrow.monitor.look import Labels, labelled
from outgrow.monitor.pairs import Group
from outgrow.monitor.quality_view import QualityView
from outgrow.monitor.telling import latest_windows, prometheus_metrics, raise_alerts

START = np.datetime64("2026-03-02T00:00:00")  # a Monday


def rows_of(hours: np.ndarray, shift: np.ndarray, seed: int = 0, per_hour: int = 300) -> pa.Table:
    """Rows of some hours after the start, each with its own mean."""
    rng = np.random.default_rng(seed)
    hour, mean = np.repeat(hours, per_hour), np.repeat(shift, per_hour)
    seconds = hour * 3600 + rng.integers(0, 3600, len(hour))
    return pa.table(
        {
            "time": START + seconds.astype("timedelta64[s]"),
            "delay": rng.normal(0, 1, len(hour)) + mean,
            "carrier": rng.choice(["AA", "UA"], len(hour)),
        }
    )


@pytest.fixture
def reference() -> og.Reference:
    return og.Reference.of(rows_of(np.arange(20), np.zeros(20), seed=9).drop_columns("time"))


def monitor_of(reference: Any, folder: Path, **settings: Any) -> Any:
    return og.Monitor(reference, folder / "ops.db", **({"window": "1h", "name": "late"} | settings))


def test_windows_are_the_same_however_the_rows_come(reference: og.Reference, tmp_path: Path) -> None:
    rows = rows_of(np.arange(6), np.array([0, 0, 0, 0, 2, 2]))
    whole = monitor_of(reference, tmp_path / "whole")
    assert whole.fold(rows, time="time") == len(rows)
    parts = monitor_of(reference, tmp_path / "parts")
    shuffled = rows.take(np.random.default_rng(1).permutation(len(rows)))
    for start in range(0, len(rows), 700):
        parts.fold(shuffled.slice(start, 700), time="time", source=f"part {start}")
        assert parts.fold(shuffled.slice(start, 700), time="time", source=f"part {start}") == 0  # counted
    one, other = whole.counts(), parts.counts()
    assert one.keys() == other.keys()
    assert all((one[group].counts == other[group].counts).all() for group in one)
    by_rows = reference.coarse(reference.count(rows.drop_columns("time")))
    (day,) = whole.counts(window="1d").values()
    assert (day.counts == by_rows.counts).all()
    assert day.rows == len(rows)
    verdicts = {start: judgement.verdict for start, judgement in _judged(whole).items()}
    assert list(verdicts.values()) == ["ok"] * 4 + ["drift"] * 2
    assert {start: judgement.verdict for start, judgement in _judged(parts).items()} == verdicts
    whole.log.verify()


def _judged(monitor: Any) -> dict[Any, Any]:
    return {judgement.start: judgement for judgement in monitor.judge(open_too=True)}


def test_late_rows_add_to_their_window_which_is_judged_again(reference: og.Reference, tmp_path: Path) -> None:
    monitor = monitor_of(reference, tmp_path)
    monitor.fold(rows_of(np.arange(3), np.zeros(3)), time="time")
    assert [judgement.start.hour for judgement in monitor.judge()] == [0, 1]  # more rows may come to the last
    assert monitor.judge() == []
    monitor.fold(rows_of(np.array([0]), np.array([4.0]), seed=2), time="time")
    (again,) = monitor.judge()
    assert (again.start.hour, again.rows, again.verdict) == (0, 600, "drift")
    anew = monitor_of(reference, tmp_path)  # another process knows all that from the log
    assert anew.judge() == []
    assert anew.drift(Group("", "", "", round(again.start.timestamp() * 1e6))).verdict == "drift"


def test_rows_without_time_windows_without_rows_and_other_schemas(
    reference: og.Reference, tmp_path: Path
) -> None:
    monitor = monitor_of(reference, tmp_path)
    rows = rows_of(np.array([0, 4]), np.zeros(2)).to_pandas()
    rows.loc[:9, "time"] = pandas.NaT
    assert monitor.fold(rows, time="time") == 590
    assert monitor.timeless == 10
    assert [gap.hour for gap in monitor.gaps()] == [1, 2, 3]
    other = rows.drop(columns="delay").assign(delays=1.0)
    monitor.fold(other.assign(time=np.datetime64("2026-03-02T09:10")), time="time")
    (judged, *_) = [j for j in monitor.judge(open_too=True) if j.start.hour == 9]
    assert judged.verdict == "drift"
    assert "delay" in judged.drifted
    assert monitor.fold(rows.iloc[:0], time="time") == 0
    with pytest.raises(ParameterError, match="no column 'when' of times"):
        monitor.fold(rows, time="when")


def test_seasons_are_told_from_drift_that_stays(reference: og.Reference, tmp_path: Path) -> None:
    hours = np.arange(4 * 24)
    night = np.where((hours % 24 >= 1) & (hours % 24 < 4), 2.0, 0.0)
    monitor = monitor_of(reference, tmp_path, period="24h")
    monitor.fold(rows_of(hours, night, per_hour=150), time="time")
    monitor.judge(open_too=True)
    assert monitor.kinds()["delay"].name == "periodic"
    alerts = Alerts(monitor.log, "late")
    assert raise_alerts(alerts, monitor.view, monitor.kinds()) == []
    stays = monitor_of(reference, tmp_path / "stays", period="24h")
    stays.fold(rows_of(hours, np.where(hours > 60, 2.0, 0.0), per_hour=150), time="time")
    stays.judge(open_too=True)
    kind = stays.kinds()["delay"]
    assert (kind.name, kind.since) == ("sudden", 61)
    (alert,) = raise_alerts(Alerts(stays.log, "late"), stays.view, stays.kinds())
    assert alert.key == "column:delay"
    assert "(sudden)" in alert.text


def test_an_alert_of_temporary_drift_closes_itself_and_is_sent_once(
    reference: og.Reference, tmp_path: Path
) -> None:
    monitor, seen = monitor_of(reference, tmp_path), []
    alerts = Alerts(monitor.log, "late", [Call(lambda alert: seen.append(alert["text"]))])
    for hour, mean in enumerate([0, 0, 0, 3, 3, 0, 0]):
        monitor.fold(rows_of(np.array([hour]), np.array([float(mean)]), seed=hour), time="time")
        monitor.judge(open_too=True)
        raise_alerts(alerts, monitor.view, monitor.kinds())
    assert [text.split(":")[0] for text in seen] == ["[firing] late", "[resolved] late"]
    (alert,) = alerts.all()
    assert alert.because == "It was temporary: 2 windows drifted, and 1 since then do not."


def test_a_channel_that_fails_is_tried_again_and_silence_is_kept(tmp_path: Path) -> None:
    log, seen, broken = og.EventLog(tmp_path), [], [True]

    def take(alert: Any) -> None:
        if broken:
            raise OSError("no line")
        seen.append(alert["key"])

    alerts = Alerts(log, "late", [Call(take)])
    alerts.update({"column:a": "It moved."})
    assert seen == []
    broken.clear()
    alerts.silence("*", during="1h", by="ada")
    alerts.update({"column:a": "It moved."})
    assert seen == []
    alerts = Alerts(log, "late", [Call(take)])  # after a restart, all is in the log
    assert alerts.silenced("column:a")
    alerts.silence("*", during="1s")
    until = [record.body["until"] for record in log.since(0) if record.body["state"] == "silenced"][-1]
    time.sleep(max(0, until - time.time() + 0.01))
    assert alerts.send() == []
    assert seen == ["column:a"]
    (alert,) = alerts.open()
    alerts.update({"column:a": "It moved.", "column:b": "It moved, too."})
    assert seen == ["column:a", "column:b"]
    alerts.acknowledge(alert.id[:6], by="ada")
    assert alerts.all()[0].acknowledged == "ada"
    alerts.close(alert.id, "Mended.", by="ada")
    assert [(a.key, a.state) for a in alerts.all()] == [("column:a", "closed"), ("column:b", "opened")]
    with pytest.raises(ParameterError, match="'nix' names 0 alerts"):
        alerts.close("nix")


@pytest.fixture
def receiver() -> Iterator[tuple[str, list[Any]]]:
    """A webhook that is out of order once."""
    taken: list[Any] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            taken.append((self.path, body))
            self.send_response(503 if len(taken) == 1 else 400 if self.path == "/no" else 200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", taken
    server.shutdown()
    server.server_close()


def test_webhooks_try_again_within_their_deadline(receiver: tuple[str, list[Any]], tmp_path: Path) -> None:
    url, taken = receiver
    alerts = Alerts(og.EventLog(tmp_path), "late", [Webhook(url + "/secret", pause=0.01)])
    alerts.update({"column:a": "It moved."})
    assert [(path, body["text"]) for path, body in taken] == [("/secret", "[firing] late: It moved.")] * 2
    assert "secret" not in str([dict(record.body) for record in alerts.log.since(0)])
    with pytest.raises(og.errors.EngineError, match="HTTP 400"):
        Webhook(url + "/no", pause=0.01).send({"text": "x"})
    assert len(taken) == 3  # what is refused is not tried again
    with pytest.raises(og.errors.EngineError, match="refused"):
        Webhook("http://127.0.0.1:1", pause=0.01).send({"text": "x"})
    with pytest.raises(ParameterError, match="no URL"):
        Webhook("chat.example")
    with pytest.raises(OSError, match="refused"):
        Mail("a@b", "c@d", "127.0.0.1", 1).send({"text": "x"})


def test_counts_that_are_gone_or_changed_are_named(reference: og.Reference, tmp_path: Path) -> None:
    monitor = monitor_of(reference, tmp_path)
    monitor.fold(rows_of(np.array([0]), np.zeros(1)), time="time")
    (file,) = (tmp_path / "windows").rglob("*.window")
    file.write_bytes(b"other")
    with pytest.raises(ArtifactError, match="was changed since it was written"):
        monitor.counts()
    file.unlink()
    with pytest.raises(ArtifactError, match=r"not at .*window, where the log says"):
        monitor.counts()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window": "soon"}, "'soon' is no length of time"),
        ({"period": "90min"}, "no whole number of windows"),
        ({"fdr": 2.0}, "fdr=2.0"),
        ({"effect": {"size": 1}}, "'size', which is no measure"),
    ],
)
def test_settings_are_refused_before_any_rows(
    settings: dict[str, Any], message: str, reference: og.Reference, tmp_path: Path
) -> None:
    with pytest.raises(ParameterError, match=message):
        monitor_of(reference, tmp_path, **settings)


def predictions(folder: Path, hours: range, shift: float, model: Any, seed: int) -> pandas.DataFrame:
    """A file of the server's log for each hour; the rows with their true values."""
    frames = []
    for hour in hours:
        rows = rows_of(np.array([hour]), np.array([shift]), seed=seed + hour).to_pandas()
        chance = 1 / (1 + np.exp(-2 * rows.delay))
        rows["truth"] = np.where(np.random.default_rng(hour).random(len(rows)) < chance, "late", "fine")
        rows["request_id"] = [f"{hour}-{number}" for number in range(len(rows))]
        p = model.predict_proba(rows[["delay"]])
        log = rows[["time", "request_id", "delay"]].assign(version="1", role="primary")
        log["prediction"] = model.predict(rows[["delay"]])
        log["probability_fine"], log["probability_late"] = p.T
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pandas(log), folder / f"{hour:03d}.parquet")
        frames.append(rows)
    return pandas.concat(frames)


def test_the_command_watches_a_log_with_labels_and_ends_with_3_on_drift(
    tmp_path: Path, receiver: tuple[str, list[Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    training = rows_of(np.arange(20), np.zeros(20), seed=9).to_pandas()
    chance = 1 / (1 + np.exp(-2 * training.delay))
    training["truth"] = np.where(np.random.default_rng(0).random(len(training)) < chance, "late", "fine")
    model = og.LogisticRegression().fit(training[["delay", "truth"]], "truth")
    model.save(tmp_path / "model", reference=training[["delay", "truth"]])
    rows = predictions(tmp_path / "log" / "model=late", range(5), 0.0, model, 0)
    words = ["watch", str(tmp_path / "model"), str(tmp_path / "log"), "--log", str(tmp_path / "ops.db")]
    words += [
        "--name",
        "late",
        "--labels",
        str(tmp_path / "labels"),
        "--on",
        "request_id",
        "--label",
        "truth",
    ]
    words += ["--webhook", receiver[0], "--prometheus", str(tmp_path / "late.prom"), "--baseline", "0.25"]
    assert run(words) == 0  # there are no labels yet
    assert "1,500 new rows of 5 file(s); 4 window(s) judged." in capsys.readouterr().out
    (tmp_path / "labels").mkdir()
    pq.write_table(pa.Table.from_pandas(rows[["request_id", "truth"]]), tmp_path / "labels" / "0.parquet")
    predictions(tmp_path / "log" / "model=late", range(5, 8), 2.0, model, 0)
    assert run(words) == 3
    text = capsys.readouterr().out
    assert "drift: 2026-03-02 05:00 to 2026-03-02 06:00, version 1, 300 rows" in text
    assert "1,500 of 2,400 rows labelled" in text
    assert {body["key"] for _, body in receiver[1]} >= {"column:delay version 1"}
    metrics = (tmp_path / "late.prom").read_text()
    assert 'outgrow_drift{model="late",version="1",role="primary",column="delay",metric="psi"}' in metrics
    assert 'outgrow_quality{model="late",version="1",role="primary",metric="accuracy"}' in metrics
    assert run(["alerts", "late", "--log", str(tmp_path / "ops.db")]) == 0
    shown = capsys.readouterr().out
    identity = next(line.split()[0] for line in shown.splitlines() if "column:delay" in line)
    assert (
        run(["alerts", "late", "--log", str(tmp_path / "ops.db"), "--close", identity, "--because", "fine"])
        == 0
    )
    assert identity not in capsys.readouterr().out
    assert run([*words, "--labels", "x", "--period", "90min"]) == 2


def run(words: list[str]) -> int:
    with pytest.raises(SystemExit) as ended:
        main(words)
    return int(ended.value.code or 0)


def test_metrics_are_written_as_prometheus_reads_them(reference: og.Reference, tmp_path: Path) -> None:
    text = prometheus_text([("a", {"x": 'say "hi"\n'}, float("nan"))], {"a": "Of a test."})
    assert text == '# HELP a Of a test.\n# TYPE a gauge\na{x="say \\"hi\\"\\n"} NaN\n'
    monitor = monitor_of(reference, tmp_path)
    assert latest_windows(monitor.view) == {}
    assert prometheus_metrics(monitor.view) == ""
    monitor.fold(rows_of(np.arange(2), np.zeros(2)), time="time")
    monitor.judge(open_too=True)
    metrics = prometheus_metrics(monitor.view, Alerts(monitor.log, "late"))
    assert 'outgrow_window_rows{model="late",version="",role=""} 300.0' in metrics
    assert 'outgrow_alerts_open{model="late"} 0.0' in metrics


def test_a_year_of_hours_merges_quickly(reference: og.Reference) -> None:
    """8,760 windows of 20 columns take below 2 s from their files; here a tenth, in memory."""
    from outgrow.monitor.windows import merge_all

    rows = rows_of(np.arange(2), np.zeros(2)).drop_columns("time")
    window = reference.coarse(reference.count(rows))
    began = time.process_time()
    merged = merge_all([window] * 876)
    assert time.process_time() - began < 2
    assert merged.rows == 876 * len(rows)
    assert (merged.counts == 876 * window.counts).all()


def test_a_reference_lies_beside_the_windows_that_are_held_against_it(
    reference: og.Reference, tmp_path: Path
) -> None:
    monitor = monitor_of(reference, tmp_path)
    monitor.fold(rows_of(np.arange(2), np.array([0, 2])), time="time")
    (digest,) = set(monitor.view.refreshed().references.values())
    kept = monitor.files.reference(digest)
    (group,) = [group for group in monitor.counts() if group.time is not None and group.time.hour == 1]
    both, by_hand = (pair(side, monitor.counts()[group], "delay") for side in (kept, reference))
    assert both is not None
    assert by_hand is not None
    assert (both.before == by_hand.before).all()
    middles = (np.asarray(both.edges)[1:] + np.asarray(both.edges)[:-1]) / 2
    assert both.now @ middles - both.before @ middles == pytest.approx(2.0, abs=0.3)
    with pytest.raises(ColumnNotFoundError, match="counts no values of 'gate'"):
        pair(kept, monitor.counts()[group], "gate")


def test_the_log_has_the_quality_of_windows_once_until_late_labels_change_it(
    reference: og.Reference, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    hours, late = np.repeat([0, 1], 50), rng.choice(["no", "yes"], 100)
    folder = tmp_path / "asked"
    folder.mkdir()
    asked = {"id": np.arange(100), "time": START + (hours * 3600).astype("timedelta64[s]")}
    pq.write_table(
        pa.table({**asked, "delay": rng.normal(size=100), "prediction": late}), folder / "0.parquet"
    )
    monitor = monitor_of(reference, tmp_path)
    labels = Labels(tmp_path / "labels.parquet", ("id",), "late")
    for rows in (60, 60, 100):
        pq.write_table(pa.table({"id": np.arange(rows), "late": late[:rows]}), labels.path)
        labelled(monitor, folder, labels, "time")
    first, second = (record.body["windows"] for record in monitor.log.since(0, kinds=("label.met",)))
    assert [(line["start"][11:13], line["labelled"]) for line in first] == [("00", 50), ("01", 10)]
    assert [(line["start"][11:13], line["labelled"]) for line in second] == [("01", 50)]
    view = QualityView(monitor.log, "late").refreshed()
    assert [line["labelled"] for line in view.windows.values()] == [50, 50]
    assert view.overall[0]["accuracy"] == 1.0


def test_a_stream_of_spark_counts_as_a_folder_does(
    spark: Any, reference: og.Reference, tmp_path: Path
) -> None:
    rows = rows_of(np.arange(2), np.array([0, 2]))
    landed = tmp_path / "landed"
    landed.mkdir()
    for number, start in enumerate(range(0, len(rows), 300)):
        part = rows.slice(start, 300)
        pq.write_table(
            part.set_column(0, "time", part["time"].cast(pa.timestamp("us", "UTC"))),
            landed / f"{number}.parquet",
        )
    frame = spark.readStream.schema("time timestamp, delay double, carrier string").parquet(str(landed))
    monitor = monitor_of(reference, tmp_path / "stream")
    for _ in range(2):  # the second finds nothing new
        query = monitor.watch_stream(
            frame.coalesce(1), tmp_path / "checkpoint", time="time", trigger={"availableNow": True}
        )
        assert query.awaitTermination(120)
    by_folder = monitor_of(reference, tmp_path / "folder")
    by_folder.fold_files(landed, time="time")
    counted, same = monitor.counts(), by_folder.counts()
    assert counted.keys() == same.keys()
    assert all((counted[group].counts == same[group].counts).all() for group in same)
    assert sum(counts.rows for counts in counted.values()) == len(rows)
    assert [judged.verdict for judged in _judged(monitor).values()] == ["drift"]  # the first one was judged
