"""`python -m bench watch`: processor time that a server takes for a request, with `--watch` and without.

One process that serves answers as many requests a second as fit in a second of one core, so the time it
takes for each is its throughput, whatever else the machine does. Both take the same requests in turns.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
from pathlib import Path

import outgrow as og
from bench.data import FEATURES, table_path
from bench.machine import machine
from bench.serving import Contender, _running

RESULTS = Path(__file__).parent / "results" / "watch.md"
CONNECTIONS, REQUESTS, TURNS = 32, 20_000, 9


def main() -> None:
    """Write the table."""
    names, target = FEATURES, "label"
    rows = og.read(str(table_path("numbers", 200_000))).select(*names, target)
    lines = ["| server | µs a request | beside the plain one |", "|---|---|---|"]
    with tempfile.TemporaryDirectory() as folder:
        model = og.LogisticRegression().fit(rows, target)
        model.save(f"{folder}/model", reference=rows)
        body = {"rows": [dict.fromkeys(names, 0.5)], "probabilities": True}
        serve = [sys.executable, "-m", "outgrow", "serve", f"{folder}/model", "--port", "{port}"]
        plain = Contender("outgrow serve", serve, "/predict", body)
        watch = Contender("outgrow serve --watch", [*serve, "--watch", f"{folder}/ops.db"], "/predict", body)
        with _running(plain) as (one, server), _running(watch) as (other, watching):
            turns = []
            for turn in range(TURNS + 1):
                pair = [_cost(server, one, body), _cost(watching, other, body)]
                turns += [pair] if turn else []  # the first one warms
    usual = [statistics.median(times) for times in zip(*turns, strict=True)]
    ratios = [watched / alone for alone, watched in turns]
    lines.append(f"| {plain.name} | {usual[0] * 1e6:.0f} | |")
    share = (
        f"{100 * (statistics.median(ratios) - 1):+.1f} % ({min(ratios) - 1:+.1%} to {max(ratios) - 1:+.1%})"
    )
    lines.append(f"| {watch.name} | {usual[1] * 1e6:.0f} | {share} |")
    what = f"{REQUESTS:,} requests of one row of {len(names)} numbers a turn, {TURNS} turns, medians."
    facts = "; ".join(f"{name}: {fact}" for name, fact in machine().items())
    head = f"{what}\n\n{facts}"
    RESULTS.write_text("\n".join(["# What it costs a server to watch itself", "", head, "", *lines, ""]))
    print("\n".join(lines))


def _cost(server: object, port: int, body: object) -> float:
    """Seconds of processor time for one of many requests, with the counting that follows."""
    began = _seconds(server)
    asyncio.run(_load(port, body))
    return (_seconds(server) - began) / REQUESTS


def _seconds(server: object) -> float:
    times = server.cpu_times()  # type: ignore[attr-defined]
    return float(times.user + times.system)


async def _load(port: int, body: object) -> None:
    content = json.dumps(body).encode()
    words = ("POST /predict HTTP/1.1", "Host: x", f"Content-Length: {len(content)}")
    head = "\r\n".join([*words, "Content-Type: application/json", "", ""])
    message = head.encode() + content
    await asyncio.gather(*(_ask(port, message, REQUESTS // CONNECTIONS) for _ in range(CONNECTIONS)))
    await asyncio.sleep(6.0)  # what was put aside is counted every five seconds


async def _ask(port: int, message: bytes, count: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(count):
        writer.write(message)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        assert head.startswith(b"http/1.1 200"), head
        await reader.readexactly(int(head.partition(b"content-length:")[2].split(b"\r\n")[0]))
    writer.close()
