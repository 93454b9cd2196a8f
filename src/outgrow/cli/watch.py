"""`outgrow watch` and `outgrow alerts`."""

from __future__ import annotations

from typing import Annotated

import typer

from outgrow.cli.app import app
from outgrow.cli.options import Debug
from outgrow.cli.screen import say

Log = Annotated[str, typer.Option(help="The log: a path of an SQLite file, a folder, or a URI.")]


@app.command("watch")
def _watch(
    model: Annotated[str, typer.Argument(help="A saved model with a reference, or files of rows for one.")],
    data: Annotated[
        str, typer.Argument(help="The folder of predictions: the server's log, or what a stream writes.")
    ],
    log: Log,
    window: Annotated[str, typer.Option(help="The length of a window: 15min, 1h, 1d, 1mo.")] = "1h",
    time: Annotated[str, typer.Option(help="The column that says when a row was asked.")] = "time",
    name: Annotated[str | None, typer.Option(help="Under which the model stands in the log.")] = None,
    states: Annotated[
        str | None, typer.Option(help="The folder of counts; beside the log if not given.")
    ] = None,
    period: Annotated[str | None, typer.Option(help="How long a season is: 24h, 7d.")] = None,
    by: Annotated[list[str] | None, typer.Option(help="A column whose values are slices.")] = None,
    fdr: Annotated[
        float, typer.Option(help="The share of false ones among reported changes, at most.")
    ] = 0.01,
    effect: Annotated[
        list[str] | None, typer.Option(metavar="NAME=NUMBER", help="When a change is large: psi=0.1.")
    ] = None,
    open_windows: Annotated[
        bool, typer.Option("--open-windows", help="Judge windows, too, that more rows may come to.")
    ] = False,
    labels: Annotated[str | None, typer.Option(help="Files of labels, perhaps not there yet.")] = None,
    on: Annotated[list[str] | None, typer.Option(help="A column that joins labels to predictions.")] = None,
    label: Annotated[str, typer.Option(help="The column of the true value.")] = "label",
    label_time: Annotated[str | None, typer.Option(help="The column that says when a label came.")] = None,
    within: Annotated[str | None, typer.Option(help="How long a label may take: 12h.")] = None,
    baseline: Annotated[float | None, typer.Option(help="The mean error that is no alarm.")] = None,
    false_alarms: Annotated[float, typer.Option(help="False alarms a row, at most.")] = 1e-5,
    webhook: Annotated[list[str] | None, typer.Option(help="A URL that alerts are posted to.")] = None,
    mail: Annotated[list[str] | None, typer.Option(help="An address that alerts are mailed to.")] = None,
    smtp: Annotated[str, typer.Option(help="The mail server, HOST or HOST:PORT.")] = "localhost:25",
    prometheus: Annotated[
        str | None, typer.Option(help="A file ending in .prom for node_exporter's textfile collector.")
    ] = None,
    every: Annotated[
        str | None, typer.Option(help="Go on looking so often, such as 1min, until it is stopped.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Hold what a model is asked and answers against what it learned from; ends with 3 where it drifts."""
    from pathlib import Path

    from outgrow.monitor.alerts import Alerts
    from outgrow.monitor.channels import channels_of
    from outgrow.monitor.look import Labels, Look, effects, keep_looking, look
    from outgrow.monitor.monitor import Monitor

    if labels is not None and not on:
        raise typer.BadParameter("labels need a column that joins them to predictions.", param_hint="--on")
    monitor = Monitor(
        model,
        log,
        window=window,
        name=name,
        states=states,
        period=period,
        by=by,
        fdr=fdr,
        effect=effects(effect or ()),
    )
    alerts = Alerts(monitor.log, monitor.name, channels_of(webhook or (), mail or (), smtp))
    wanted = None
    if labels is not None:
        wanted = Labels(Path(labels), tuple(on or ()), label, label_time, within, baseline, false_alarms)

    def once() -> Look:
        return look(
            monitor, data, alerts, time=time, labels=wanted, prometheus=prometheus, open_too=open_windows
        )

    if every is not None:
        keep_looking(once, every, say)
    seen = once()
    print(seen)
    if seen.exit_code:
        raise typer.Exit(seen.exit_code)


@app.command("alerts")
def _alerts(
    model: Annotated[str, typer.Argument(help="The name under which the model is watched.")],
    log: Log,
    ack: Annotated[
        list[str] | None, typer.Option(help="The id of an alert that somebody looks after.")
    ] = None,
    close: Annotated[list[str] | None, typer.Option(help="The id of an alert to close.")] = None,
    because: Annotated[str, typer.Option(help="Why it is closed.")] = "Closed by hand.",
    silence: Annotated[
        list[str] | None, typer.Option(metavar="KEY", help="What nothing is sent about: column:delay, or *.")
    ] = None,
    during: Annotated[str, typer.Option(help="How long.")] = "1h",
    everything: Annotated[bool, typer.Option("--all", help="Show closed ones, too.")] = False,
    debug: Debug = False,
) -> None:
    """Show the alerts of a model; acknowledge, close or silence some."""
    from outgrow.log.event_log import EventLog
    from outgrow.monitor.alerts import Alerts, texts

    alerts = Alerts(EventLog(log), model)
    for alert_id in ack or ():
        alerts.acknowledge(alert_id)
    for alert_id in close or ():
        alerts.close(alert_id, because)
    for key in silence or ():
        alerts.silence(key, during=during)
    shown = alerts.all() if everything else alerts.open()
    print("\n".join(texts(shown)) or "No alerts.")
