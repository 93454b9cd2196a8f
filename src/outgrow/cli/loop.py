"""`outgrow loop`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from outgrow.cli.app import app
from outgrow.cli.options import Debug, Engine, let_import_beside
from outgrow.cli.screen import say

NOTHING_NEW, DRIFTED = 0, 3
"""Exit codes of one look: nothing is to be done by a person, or something was said to one."""


@app.command("loop")
def _loop(
    policy: Annotated[str, typer.Argument(metavar="POLICY.yaml", help="The policy.")],
    once: Annotated[bool, typer.Option("--once", help="Look once, as a scheduler does.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be decided; do nothing.")
    ] = False,
    replay: Annotated[
        str | None, typer.Option(metavar="LOG", help="Decide anew all that a log has; say what differs.")
    ] = None,
    now: Annotated[
        str | None, typer.Option(help="The moment of the look, like 2026-11-27 or 2026-11-27T18:00.")
    ] = None,
    every: Annotated[str, typer.Option(help="How long from one look to the next.")] = "1m",
    engine: Engine = "local",
    debug: Debug = False,
) -> None:
    """Watch a model, train and judge another, roll it out or back, as a policy says."""
    from outgrow.job.engines import open_engine
    from outgrow.loop.load import load_policy
    from outgrow.loop.run import Loop
    from outgrow.loop.spans import seconds_of

    let_import_beside(policy)
    loaded = load_policy(policy)
    if replay is not None:
        _replay(loaded, replay)
        return
    loop = Loop(loaded, engine=open_engine(engine, None))
    if dry_run:
        findings, decision = loop.dry_run(_moment(now))
        for finding in findings:
            _show("finding", finding)
        _show("decision", decision)
    elif once or now is not None:
        decisions = loop.once(_moment(now), listen=_show)
        words = {decision["action"] for decision in decisions} & {"report", "alert", "propose", "rollback"}
        raise typer.Exit(DRIFTED if words else NOTHING_NEW)
    else:
        loop.forever(seconds_of(every), listen=_show)


def _replay(loaded: Any, log: str) -> None:
    from outgrow.errors import DataError
    from outgrow.log.event_log import EventLog
    from outgrow.log.record import encode
    from outgrow.loop.run import differing, log_path
    from outgrow.loop.watch import served_name

    subject = served_name(loaded.policy)
    count, otherwise = differing(EventLog(log_path(log)), subject)
    if not count:
        raise DataError(f"{log} has no decision about {subject}. Give the log that the policy names.")
    for old, new in otherwise:
        say(f"was  {encode(old)}\nnow  {encode(new)}")
    say(f"{count - len(otherwise)} of {count} decisions are the same to the byte.")
    raise typer.Exit(DRIFTED if otherwise else NOTHING_NEW)


def _moment(text: str | None) -> float | None:
    from outgrow.data.spans import moment

    return None if text is None else moment(text, "--now").timestamp()


def _show(kind: str, body: dict[str, Any]) -> None:
    """One line of what is told to people; the log has all of it."""
    if kind in ("policy.read", "loop.looked"):
        return
    what = body.get("action") or body.get("about") or kind
    verdict = body.get("verdict") or body.get("outcome") or ""
    because = body.get("because") or ""
    if body.get("verified") is False:
        verdict, because = "not verified", body["expected"]["because"]
    say(f"{kind:<16} {what:<9} {verdict:<10} {because}".rstrip())
