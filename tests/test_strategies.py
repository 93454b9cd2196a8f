"""Strategies, codecs and topologies: what ranks that train a network merge, with whom and when."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from hypothesis.extra.numpy import arrays
from tests.ranks import ranks

import outgrow as og
from outgrow.deep import several
from outgrow.deep.codecs import Codec
from outgrow.deep.criteria import criterion_of, losses_of
from outgrow.deep.loop import Rules
from outgrow.deep.minibatches import Rows
from outgrow.deep.replica import Replica, replica_of
from outgrow.deep.strategies import Strategy
from outgrow.deep.strategies.gossip import neighbours
from outgrow.deep.strategy_words import _KINDS, strategy_of, words_of
from outgrow.deep.topologies import LARGE_BYTES, TOPOLOGIES, quickest
from outgrow.deep.training import Plan, Training
from outgrow.engine.collective import Alone, Communicator
from outgrow.engine.context import FitContext
from outgrow.engine.journal import Journal
from outgrow.engine.links import Links
from outgrow.errors import DataError, EngineError, ParameterError

STRATEGIES: dict[str, type[Strategy]] = {
    name: kind for name, kind in _KINDS["strategy"].items() if not kind.needs_processes
}
"""Those whose ranks may be threads; for the others there is test_parted.py."""
CODECS: dict[str, type[Codec]] = _KINDS["codec"]
SMALL: dict[str, dict[str, Any]] = {
    name: {"every": 4} if "every" in {field.name for field in fields(kind)} else {}
    for name, kind in STRATEGIES.items()
}
AS_DDP = [
    *(og.DDP(topology) for topology in ("auto", *TOPOLOGIES)),
    og.LocalSGD(every=1),
    og.LocalSGD(every=1000, warmup=1000),
    og.DiLoCo(every=1, outer_lr=1.0, outer_momentum=0.0),
    og.FedAvg(every=1),
    og.ParameterServer(staleness=0),
    og.ParameterServer(staleness=0, shards=1),
    og.PipelineParallel(),
    og.PipelineParallel(stages=(1, 1, 1, 1), microbatches=1),
]
"""Strategies by which ranks learn what one process does."""

ROWS = np.random.default_rng(0).normal(size=(600, 4))
LABELS = (ROWS[:, 0] * ROWS[:, 1] + ROWS[:, 2] > 0).astype(np.int64)
torch.manual_seed(0)
PLAIN = torch.nn.Sequential(
    torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2), torch.nn.Identity()
)


def trained(
    comm: Communicator,
    strategy: Strategy,
    *,
    cuts: list[int] | None = None,
    epochs: int = 3,
    optimizer: str = "SGD",
    lr: float = 0.1,
    module: Any = PLAIN,
    journal: Journal | None = None,
    before: Callable[[Replica, int], None] = lambda replica, rank: None,
    rules: Rules | None = None,
    context: FitContext | None = None,
    **plan: Any,
) -> np.ndarray:
    """What this rank has learned when the training is over: parameters, buffers, and the losses."""
    edges = cuts or np.linspace(0, len(ROWS), comm.size + 1).astype(int).tolist()
    part = slice(edges[comm.rank], edges[comm.rank + 1])
    replica = replica_of(copy.deepcopy(module), optimizer, {}, lr=lr)
    before(replica, comm.rank)
    hashes = np.random.default_rng(3).integers(1 << 63, size=len(ROWS)).astype(np.uint64)
    X, y = torch.tensor(ROWS[part], dtype=torch.float32), torch.tensor(LABELS[part])
    rows = Rows(X, y, None, hashes[part], (4,))
    losses = losses_of(criterion_of("CrossEntropyLoss", {}))
    asked = Plan(rules or Rules(lr), epochs, 60, strategy=strategy, **plan)
    run = context or FitContext(comm, journal=journal)
    training = Training(run, rows, replica, losses, asked)
    progress = training.run_to_the_end()
    return np.concatenate([replica.numbers(), progress.train, progress.validation])


# ---- laws of every strategy ------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", AS_DDP, ids=str)
def test_learns_what_one_process_does(strategy: Strategy) -> None:
    """Over uneven parts, of which one has no row."""
    alone = trained(Alone(), strategy)
    first, *others = ranks(4, lambda comm: trained(comm, strategy, cuts=[0, 250, 250, 333, 600]))
    np.testing.assert_allclose(first, alone, rtol=2e-5, atol=2e-6)
    assert all((other == first).all() for other in others)


@pytest.mark.parametrize("size", [2, 3, 4])
@pytest.mark.parametrize("name", STRATEGIES)
def test_all_ranks_end_with_the_same_that_is_worth_something(name: str, size: int) -> None:
    """Also with running means of batches, and with the losses of rows held out."""
    strategy = STRATEGIES[name](**SMALL[name])
    module = torch.nn.Sequential(
        torch.nn.Linear(4, 16), torch.nn.BatchNorm1d(16), torch.nn.ReLU(), torch.nn.Linear(16, 2)
    )

    def work(comm: Communicator) -> np.ndarray:
        return trained(comm, strategy, module=module, held_out=0.2, epochs=6)

    first, *others = ranks(size, work)
    assert all((other == first).all() for other in others)
    validation = first[-6:]
    assert np.isfinite(first).all()
    assert validation[-1] < 0.9 * np.log(2)
    if strategy.repeatable:
        assert (ranks(size, work)[0] == first).all()


@pytest.mark.parametrize("strategy", [og.DDP(), og.LocalSGD(every=4)], ids=str)
def test_ranks_begin_alike_whatever_a_module_begins_with(strategy: Strategy) -> None:
    def before(replica: Replica, rank: int) -> None:
        replica.parameters.mul_(1 + rank)

    first, *others = ranks(3, lambda comm: trained(comm, strategy, before=before))
    assert (first == ranks(3, lambda comm: trained(comm, strategy))[0]).all()
    assert all((other == first).all() for other in others)


@pytest.mark.parametrize("name", [name for name, small in SMALL.items() if small])
def test_steps_after_the_last_merge_count(name: str) -> None:
    """Also where a training ends before the first."""
    begun = replica_of(copy.deepcopy(PLAIN), "SGD", {}, lr=0.1).numbers()
    last = trained(Alone(), og.DDP(), epochs=2)[: len(begun)]
    first, second = ranks(2, lambda comm: trained(comm, STRATEGIES[name](every=1000), epochs=2))
    moved = first[: len(begun)] - begun
    assert np.abs(moved).max() > 0.5 * np.abs(last - begun).max()
    assert (first == second).all()


@pytest.mark.parametrize("name", STRATEGIES)
def test_one_rank_is_plain_sgd(name: str) -> None:
    strategy = STRATEGIES[name](**SMALL[name])
    assert (trained(Alone(), strategy) == trained(Alone(), og.DDP())).all()


RESUMED = [
    *(kind(**SMALL[name]) for name, kind in STRATEGIES.items() if name != "parameter_server"),
    og.ParameterServer(staleness=0),
    og.FedAvg(every=3, share=0.5, proximal=0.1, server="adam", server_lr=0.05),
    og.DDP(codec=og.TopK(0.1)),
    og.DDP(codec=og.PowerSGD(2)),
    og.DiLoCo(every=4, codec=og.Int8()),
    og.Gossip("pairs", codec=og.Bfloat16()),
]


@pytest.mark.parametrize("strategy", [one for one in RESUMED if one.repeatable], ids=str)
def test_resumed_is_unbroken_to_the_bit(strategy: Strategy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each rank goes on with what it alone knew: moments, remainders, anchors."""
    monkeypatch.setattr(several, "SNAPSHOT_SECONDS", 0.0)
    entries: list[bytes] = []

    def keep(place: int, entry: bytes) -> None:
        entries.append(entry)

    def work(known: list[bytes], keeps: bool) -> Callable[[Communicator], np.ndarray]:
        def of_rank(comm: Communicator) -> np.ndarray:
            journal = Journal(known, keep if keeps and comm.rank == 0 else None)
            return trained(comm, strategy, epochs=5, optimizer="Adam", lr=0.01, journal=journal)

        return of_rank

    whole = ranks(3, work([], keeps=True))
    assert len(entries) >= 2
    resumed = ranks(3, work(entries[: len(entries) // 2], keeps=False))
    assert all((there == here).all() for there, here in zip(resumed, whole, strict=True))


@pytest.mark.parametrize("name", [name for name in STRATEGIES if name != "pipeline_parallel"])
def test_a_rank_that_fails_ends_the_others(name: str) -> None:
    """None waits for it longer than the deadline; all say which it was."""

    def before(replica: Replica, rank: int) -> None:
        def fail() -> None:
            if rank == 1 and replica.step == 7:
                raise ValueError("the disk is full")
            replica.gradient.zero_()

        replica.zero = fail  # type: ignore[method-assign]

    def work(comm: Any) -> str:
        with pytest.raises(ValueError if comm.rank == 1 else EngineError) as caught:
            trained(comm, STRATEGIES[name](**SMALL[name]), before=before)
        if comm.rank == 1:
            comm.abort(f"ValueError: {caught.value}")
        return str(caught.value)

    told = ranks(3, work)
    assert told[1] == "the disk is full"
    assert all("Rank 1" in told[rank] and "the disk is full" in told[rank] for rank in (0, 2))


def test_every_strategy_and_codec_is_public_and_can_be_said_in_words() -> None:
    for kinds in _KINDS.values():
        for kind in kinds.values():
            assert kind.__name__ == "Mean" or getattr(og, kind.__name__) is kind
    for name, kind in STRATEGIES.items():
        strategy = kind(**SMALL[name])
        assert strategy_of(name) == kind()
        assert strategy_of(json.loads(json.dumps(words_of(strategy)))) == strategy
    deep = og.DDP(merge=og.TrimmedMean(0.2))
    assert strategy_of(json.loads(json.dumps(words_of(deep)))) == deep


# ---- sums and codecs -------------------------------------------------------------------------------------


def linked(size: int, work: Callable[[Links], Any]) -> list[Any]:
    def of_rank(comm: Any) -> Any:
        links = Links(comm)
        try:
            return work(links)
        finally:
            links.close()

    return ranks(size, of_rank)


@pytest.mark.parametrize("size", [2, 3, 4, 5, 7])
@pytest.mark.parametrize("name", TOPOLOGIES)
def test_sums_are_right_and_the_same_bits(name: str, size: int) -> None:
    mine = np.random.default_rng(0).normal(size=(size, 1001)).astype(np.float32)

    def work(links: Links) -> list[np.ndarray]:
        told = []
        for length in (1001, 3, 0):
            array = mine[links.rank, :length].copy()
            TOPOLOGIES[name](links, array)
            told.append(array)
        return told

    first, *others = linked(size, work)
    for number, length in enumerate((1001, 3, 0)):
        np.testing.assert_allclose(first[number], mine[:, :length].sum(axis=0), rtol=1e-5, atol=1e-5)
        assert all((other[number] == first[number]).all() for other in others)


def test_the_quickest_topology_is_one_for_all_and_changes_no_bit() -> None:
    mine = np.random.default_rng(0).normal(size=(4, 501)).astype(np.float32)

    def work(links: Links) -> Any:
        sums = {name: mine[links.rank].copy() for name in ("mesh", "star")}
        for name, array in sums.items():
            TOPOLOGIES[name](links, array)
        assert (sums["mesh"] == sums["star"]).all()
        return quickest(links, 500), quickest(links, LARGE_BYTES // 4)

    first, *others = linked(4, work)
    assert all(other == first for other in others)
    assert first[0] in ("mesh", "star")
    assert first[1] == "mesh"


P = 300_000
BYTES = {
    **{name: (lambda rank, size: 2 * (size - 1) / size * 4 * P) for name in ("mesh", "ring", "butterfly")},
    "star": lambda rank, size: 4 * P * (1 if rank else size - 1),
    "tree": lambda rank, size: (
        4 * P * ((rank > 0) + sum(child < size for child in (2 * rank + 1, 2 * rank + 2)))
    ),
}
SHARE_OF_BYTES = {"bfloat16": 1 / 2, "int8": 1 / 4 * (1 + 4 / 1024), "sign": 1 / 32, "top_k": 2 / 100}


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_bytes_are_those_of_the_formula(name: str) -> None:
    def work(links: Links) -> int:
        TOPOLOGIES[name](links, np.ones(P, np.float32))
        return links.sent_bytes

    for rank, sent in enumerate(linked(4, work)):
        assert sent == pytest.approx(BYTES[name](rank, 4), rel=0.01)


@pytest.mark.parametrize("name", SHARE_OF_BYTES)
def test_bytes_of_codecs(name: str) -> None:
    def work(links: Links) -> int:
        array = np.random.default_rng(links.rank).normal(size=P).astype(np.float32)
        CODECS[name]().sum(links, array, [(P,)], {})
        return links.sent_bytes

    for sent in linked(4, work):
        assert sent == pytest.approx(BYTES["mesh"](0, 4) * SHARE_OF_BYTES[name], rel=0.02)


@pytest.mark.parametrize("name", CODECS)
def test_what_a_codec_leaves_out_is_sent_later(name: str) -> None:
    """The sums of many rounds are those of what all ranks wanted to say; each round the same bits on all."""
    wanted = np.random.default_rng(0).normal(size=(3, 24 * 20)).astype(np.float32)

    def work(links: Links) -> np.ndarray:
        memory: dict[str, np.ndarray] = {}
        total = np.zeros(24 * 20)
        codec = CODECS[name](0.1) if name == "top_k" else CODECS[name]()  # type: ignore[call-arg]
        for _ in range(200):
            array = wanted[links.rank].copy()
            codec.sum(links, array, [(24, 20)], memory)
            total += array
        return total / 200

    first, *others = linked(3, work)
    assert all((other == first).all() for other in others)
    assert np.abs(first - wanted.sum(axis=0)).mean() < 0.05


@given(arrays(np.float32, some.integers(0, 3000), elements=some.floats(-1e6, 1e6, width=32)))
@settings(max_examples=30)
def test_codecs_keep_the_size_and_are_near(array: np.ndarray) -> None:
    for kind in CODECS.values():
        if kind.encode is Codec.encode:
            continue
        decoded = kind().decode(kind().encode(array), len(array))
        assert (decoded.shape, decoded.dtype) == (array.shape, np.float32)
        if kind.dense:
            largest = float(np.abs(array).max(initial=0.0))
            np.testing.assert_allclose(decoded, array, atol=largest / 120 + np.finfo(np.float32).tiny)


@pytest.mark.parametrize("name", [name for name, kind in CODECS.items() if kind.encode is not Codec.encode])
@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_what_is_no_number_is_not_made_one(name: str, wrong: float) -> None:
    """Else a training that has gone astray would go on."""
    array = np.arange(3000, dtype=np.float32)
    array[1500] = wrong
    codec = CODECS[name]()
    assert not np.isfinite(codec.decode(codec.encode(array), len(array))[1500])


@pytest.mark.parametrize("graph", ["exponential", "ring", "pairs"])
@pytest.mark.parametrize("size", [2, 3, 4, 5, 8])
def test_whom_one_tells_hears_it(graph: str, size: int) -> None:
    """And after a while all have heard of all."""
    heard_of = np.eye(size)
    for number in range(12):
        pairs = [neighbours(graph, rank, size, number, seed=1) for rank in range(size)]
        for rank, (told, heard) in enumerate(pairs):
            assert rank not in told
            assert all(rank in pairs[other][1] for other in told)
            assert all(rank in pairs[other][0] for other in heard)
        heard_of = np.array([heard_of[[rank, *heard]].max(axis=0) for rank, (_, heard) in enumerate(pairs)])
    assert heard_of.all()


# ---- ranks that lie, are slow, or die --------------------------------------------------------------------


@pytest.mark.parametrize(
    "strategy", [og.DDP(merge=og.Median()), og.LocalSGD(every=3, merge=og.Krum())], ids=str
)
def test_merges_give_the_same_bits_where_some_have_no_rows(strategy: Strategy) -> None:
    first, *others = ranks(3, lambda comm: trained(comm, strategy, cuts=[0, 1, 2, len(ROWS)]))
    assert np.isfinite(first).all()
    assert all(other.tobytes() == first.tobytes() for other in others)


@pytest.mark.parametrize("merge", [og.Median(), og.TrimmedMean(2 / 7), og.Krum(2)], ids=str)
@pytest.mark.parametrize("strategy", [og.DDP(), og.LocalSGD(every=4)], ids=str)
def test_ranks_that_lie_do_not_count(strategy: Strategy, merge: Any) -> None:
    """Two of seven say the opposite, a hundred times as loud."""
    robust = replace(strategy, merge=merge)  # type: ignore[call-arg]
    assert loss_among_liars(robust) < 0.6
    assert loss_among_liars(strategy) > 0.7


@cache
def loss_among_liars(strategy: Strategy) -> float:
    liars = {1, 4}

    def before(replica: Replica, rank: int) -> None:
        if rank in liars:
            honest, numbers = replica.read_gradient, replica.numbers
            replica.read_gradient = lambda: -100 * honest()  # type: ignore[method-assign]
            replica.numbers = lambda: -100 * numbers()  # type: ignore[method-assign]

    def work(comm: Any) -> float:
        try:
            return loss_of(trained(comm, strategy, before=before, epochs=12, lr=0.3))
        except (DataError, EngineError) as error:  # the loss is no number any more
            comm.abort(str(error))
            return np.inf

    return float(ranks(7, work)[0])


def loss_of(learned: np.ndarray) -> float:
    """The loss of a network of the form of `PLAIN`, of all rows."""
    net, start = copy.deepcopy(PLAIN), 0
    for value in net.parameters():
        end = start + value.numel()
        value.data = torch.tensor(learned[start:end].reshape(value.shape), dtype=torch.float32)
        start = end
    with torch.no_grad():
        answers = net(torch.tensor(ROWS, dtype=torch.float32))
        return float(torch.nn.functional.cross_entropy(answers, torch.tensor(LABELS)))


def test_a_slow_rank_is_named() -> None:
    def work(links: Links) -> Any:
        for _ in range(3):
            time.sleep(0.1 if links.rank == 2 else 0.005)
            TOPOLOGIES["mesh"](links, np.ones(8, np.float32))
        return links.slowest()

    for slow in linked(4, work):
        assert slow is not None
        assert slow[0] == 2


def test_nobody_waits_for_a_slow_rank_that_need_not() -> None:
    """By push-sum and without a bound of staleness, the others are done long before the slow one."""
    for strategy in (og.PushSum(), og.ParameterServer(staleness=None, shards=1)):
        done: dict[int, float] = {}

        def before(replica: Replica, rank: int, done: dict[int, float] = done) -> None:
            def zero() -> None:
                replica.gradient.zero_()
                if rank == 2:
                    time.sleep(0.05)
                if replica.step == 29:
                    done[rank] = time.monotonic()

            replica.zero = zero  # type: ignore[method-assign]

        ranks(3, lambda comm, s=strategy, b=before: trained(comm, s, before=b))
        assert max(done[0], done[1]) < done[2] - 0.2


def test_a_killed_rank_is_replaced_and_nothing_is_lost() -> None:
    """Of local SGD on processes of this machine; what is learned is that of a run without the fault."""
    script = """
import os, warnings, numpy as np, pyarrow as pa, outgrow as og
from outgrow.engine.ranks import processes
rng = np.random.default_rng(0)
X = rng.normal(size=(2000, 4))
rows = og.dataset(pa.table({"a": X[:, 0], "b": X[:, 1], "c": X[:, 2], "y": X[:, 0] * X[:, 1] > 0}))
rows = og.Dataset(rows.scan, og.Local(processes=2, threads=1))
known = []
class Watched(processes.RankProcesses):
    def __init__(self, *given):
        super().__init__(*given)
        known.append(self)
processes.RankProcesses = Watched

def learned(kill):
    killed = []
    def hear(event):
        if kill and event.unit == "epoch" and event.step == 3 and not killed:
            killed.append(event)
            [group] = [g for g in known if g.alive]
            os.kill(group[1].pid, 9)
    with og.listen(hear), warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        model = og.TorchClassifier(
            module__hidden=(8,), max_epochs=40, batch_size=50, lr=0.01, strategy=og.LocalSGD(every=8)
        ).fit(rows, "y")
    assert bool(killed) == kill
    assert any("rank 1" in str(w.message) for w in told) == kill, [str(w.message) for w in told]
    return np.concatenate([value.ravel() for value in model.weights_.values()]).tobytes()

assert learned(True) == learned(False)
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=240)
    assert ran.returncode == 0, ran.stderr


# ---- as a user meets them --------------------------------------------------------------------------------


def test_on_processes_saved_and_loaded(tmp_path: Path) -> None:
    table = pa.table({**{f"x{j}": ROWS[:, j] for j in range(4)}, "y": LABELS})
    rows = og.Dataset(og.dataset(table).scan, og.Local(processes=2, threads=1))
    heard: list[Any] = []
    with og.listen(heard.append):
        model = og.TorchClassifier(
            module__hidden=(8,), max_epochs=2, strategy=og.DiLoCo(every=4, codec=og.TopK(0.1))
        ).fit(rows, "y")
    assert [event.metrics["sent_bytes"] for event in heard if event.unit == "epoch"][-1] > 0
    model.save(tmp_path / "model")
    loaded = og.load(tmp_path / "model")
    assert strategy_of(loaded.strategy) == model.strategy
    np.testing.assert_allclose(loaded.predict_proba(table), model.predict_proba(table), atol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: og.TorchClassifier(strategy="locl_sgd").fit(ROWS, LABELS), "there are .*'local_sgd'"),
        (lambda: strategy_of({"name": "diloco", "evry": 3}), "has no 'evry'; it takes .*'every'"),
        (lambda: og.LocalSGD(every=0), r"every=0.*from 1"),
        (lambda: og.LocalSGD(every=2.5), r"every=2.5"),
        (lambda: og.DDP("grid"), "topology='grid': it is one of"),
        (lambda: og.DDP("ring", codec=og.Int8()), "over the mesh|go over the mesh"),
        (lambda: og.DDP(codec=og.Int8(), merge=og.Median()), "a codec or a merge"),
        (lambda: og.Gossip(codec=og.TopK()), "Gossip sends parameters, of which .* writes only some"),
        (lambda: og.Gossip("star"), "graph='star'"),
        (lambda: og.TopK(0), "a share above 0"),
        (lambda: og.PowerSGD(0), "at least 1"),
        (lambda: og.EASGD(pull=2), "above 0, at most 1"),
        (lambda: og.DiLoCo(outer_momentum=1), "below 1"),
        (lambda: og.ParameterServer(staleness=-1), "from 0, or None"),
    ],
)
def test_wrong_settings_are_named(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        make()


def test_a_server_needs_an_optimizer_of_single_numbers() -> None:
    def work(comm: Any) -> str:
        with pytest.raises(ParameterError) as caught:
            trained(comm, og.ParameterServer(), optimizer="Adafactor")
        return str(caught.value)

    assert all("Adafactor looks at whole matrices" in told for told in ranks(2, work))
