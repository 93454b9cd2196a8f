"""`python -m bench [CASE ...]`: outgrow beside its peers, with results in bench/results/.

`python -m bench serve` does the same for servers, `python -m bench groups` for one model for each key, and
`python -m bench search` for the search for settings. `python -m bench shapes` has many sizes of each job,
`python -m bench features` every transformer, `python -m bench models` every model,
`python -m bench plan` how far off plans of jobs are, `places` whether they name the quicker place,
`python -m bench loader` loaders of tensors, `python -m bench networks` steps of networks,
`python -m bench gpu` the same on a GPU, `python -m bench tabular` networks and trees on the flights,
`python -m bench track` what it costs to record runs, `python -m bench board` how fast the live page is,
`python -m bench features-store` the feature store beside Feast,
`python -m bench watch` what it costs a server to watch itself,
`python -m bench strategies` ways to train on a slow network, `python -m bench wire` compares all-reduces,
`python -m bench nist` counts certified digits,
`python -m bench drift` finds what changed in rows, beside evidently,
`python -m bench ensembles` what it costs that each site learns a model of its own.
`python -m bench cold` measures first predictions of new processes.
`python -m bench strangers` sends hostile requests to a server.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from importlib import import_module
from pathlib import Path

from bench.cases import CASES
from bench.contest import WARM_ROWS, Case, Place, Record, hold, prepared
from bench.data import table_path
from bench.machine import machine
from bench.memory import peak_bytes
from bench.report import summarise, write

ROWS, QUICK_ROWS, REPEATS = 2_000_000, 200_000, 3
RESULTS = Path(__file__).parent / "results"


OTHERS = {
    "serve": "bench.serving",
    "strangers": "bench.strangers",
    "search": "bench.search",
    "cold": "bench.cold",
    "detectors": "bench.detectors",
    "track": "bench.track",
    "watch": "bench.watch",
    "board": "bench.board",
    "wire": "bench.wire",
    "strategies": "bench.strategies",
    "networks": "bench.networks",
    "tabular": "bench.tabular",
    "loader": "bench.loader",
    "gpu": "bench.gpu",
    "plan": "bench.plan",
    "places": "bench.places",
    "nist": "bench.nist",
    "ensembles": "bench.ensembles",
    "drift": "bench.drift",
    "groups": "bench.groups",
    "shapes": "bench.shapes.__main__",
    "features": "bench.features.__main__",
    "features-store": "bench.features_store",
    "models": "bench.models.__main__",
}
"""Benchmarks with a word of their own; each takes the rest of the command."""


def main() -> None:
    if sys.argv[1:2] and sys.argv[1] in OTHERS:
        import_module(OTHERS[sys.argv.pop(1)]).main()
        return
    asked = _arguments()
    cases = [CASES[name] for name in asked.cases or CASES]
    rows = asked.rows or (QUICK_ROWS if asked.quick else ROWS)
    repeats = asked.repeats or (1 if asked.quick else REPEATS)
    folder = RESULTS if rows == ROWS and not asked.quick else Path(tempfile.mkdtemp(prefix="outgrow-bench-"))
    facts = machine()
    # before the session: a second JVM beside it would take memory from the timed runs
    peaks = {} if asked.no_memory else {case.name: _peaks(case, rows, quick=asked.quick) for case in cases}
    for case in cases:
        records = _timed(case, rows, repeats, quick=asked.quick)
        for record in records:
            record.peak_bytes = peaks.get(case.name, {}).get(record.contender)
        write(folder, case, records, rows if case.table else None, facts)
    summarise(folder)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "cases", nargs="*", metavar="CASE", help=f"which of {', '.join(CASES)}; all by default"
    )
    parser.add_argument("--rows", type=int, help=f"rows of the generated tables, {ROWS:,} by default")
    parser.add_argument(
        "--repeats", type=int, help=f"runs of each contender, {REPEATS} by default; slow ones have fewer"
    )
    parser.add_argument("--quick", action="store_true", help=f"a smoke test: {QUICK_ROWS:,} rows, one run")
    parser.add_argument(
        "--no-memory", action="store_true", help="leave out the extra run that measures memory"
    )
    asked = parser.parse_args()
    unknown = [name for name in asked.cases if name not in CASES]
    if unknown:
        parser.error(f"unknown case {unknown[0]!r}; known: {', '.join(CASES)}")
    return asked


def _peaks(case: Case, rows: int, *, quick: bool) -> dict[str, int | None]:
    peaks = {}
    for contender in case.contenders:
        if contender.spark and (quick or not case.spark_memory):
            continue
        _say(f"{case.name}: {contender.name}, memory")
        peaks[contender.name] = peak_bytes(case, contender, rows, quick=quick)
    return peaks


def _timed(case: Case, rows: int, repeats: int, *, quick: bool) -> list[Record]:
    path = table_path(case.table, rows) if case.table else Path()
    places = {"full": prepared(case, Place(path, quick=quick))}
    if case.table:
        places["warm"] = prepared(case, Place(table_path(case.table, WARM_ROWS)))
    return hold(case, places, repeats, _say)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
