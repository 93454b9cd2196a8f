"""What strategies, codecs and merges refuse at once, and codecs at the ends of what float32 can say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import outgrow as og
from outgrow.deep.codecs import Int8, TopK
from outgrow.deep.strategies.strategy import settled
from outgrow.deep.strategy_words import strategy_of
from outgrow.engine.links import Links
from outgrow.errors import ParameterError
from outgrow.stats.robust import Median
from ranks import ranks

WRONG: list[tuple[Callable[[], Any], str]] = [
    (lambda: og.TopK("0.1"), r"share='0.1'"),
    (lambda: og.TopK(True), r"share=True"),
    (lambda: og.PowerSGD(2.5), r"rank=2.5"),
    (lambda: og.PowerSGD("2"), r"rank='2'"),
    (lambda: og.DDP(codec="int8"), r"DDP\(codec='int8'\): a codec such as og.Int8"),
    (lambda: og.DDP(codec=og.Median()), r"DDP\(codec=Median"),
    (lambda: og.DDP(merge="median"), r"DDP\(merge='median'\): a merge such as og.Median"),
    (lambda: og.DDP(merge=og.Median), r"merge=<class"),
    (lambda: og.LocalSGD(codec=og.Int8), r"codec=<class"),
    (lambda: og.LocalSGD(merge=og.Int8()), r"merge=Int8"),
    (lambda: og.LocalSGD(warmup=-3), r"warmup=-3"),
    (lambda: og.LocalSGD(warmup="x"), r"warmup='x'"),
    (lambda: og.DiLoCo(outer_lr="1"), r"outer_lr='1'"),
    (lambda: og.DiLoCo(outer_lr=float("inf")), r"outer_lr=inf"),
    (lambda: og.DiLoCo(codec="int8"), r"codec='int8'"),
    (lambda: og.EASGD(pull="a"), r"pull='a'"),
    (lambda: og.Gossip(mean_every=2.5), r"mean_every=2.5"),
    (lambda: og.Gossip(codec="int8"), r"codec='int8'"),
    (lambda: og.ParameterServer(staleness=1.5), r"staleness=1.5"),
    (lambda: og.ParameterServer(shards="2"), r"shards='2'"),
    (lambda: og.FedAvg(share="a"), r"share='a'"),
    (lambda: og.FedAvg(proximal=float("inf")), r"proximal=inf"),
    (lambda: og.FedAvg(server_lr="1"), r"server_lr='1'"),
    (lambda: og.FedAvg(clip="1"), r"clip='1'"),
    (lambda: og.FedAvg(noise="1"), r"noise='1'"),
    (lambda: og.FedAvg(delta="1"), r"delta='1'"),
    (lambda: og.FedAvg(personal=None), r"personal=None"),
    (lambda: og.TrimmedMean("a"), r"share='a'"),
    (lambda: og.Krum(liars=1.5), r"liars=1.5"),
    (lambda: og.Krum(chosen="1"), r"chosen='1'"),
    (lambda: og.FSDP(units=3), r"units=3"),
    (lambda: og.PipelineParallel(stages=3), r"stages=3"),
    (lambda: og.PipelineParallel(microbatches=True), r"microbatches=True"),
    (lambda: og.TensorParallel("x"), r"plan='x'"),
    (lambda: strategy_of(5), r"strategy=5: a name or a mapping"),
    (lambda: strategy_of({"name": "ddp", "codec": 5}), r"codec=5"),
    (lambda: strategy_of({"name": "ddp", "codec": {"name": "top_k", "share": "0.1"}}), r"share='0.1'"),
]


@pytest.mark.parametrize(("make", "message"), WRONG, ids=[message for _, message in WRONG])
def test_what_is_of_another_kind_is_named(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        make()


def test_the_smallest_numbers_keep_their_sign() -> None:
    """Scales of numbers next to 0 are rounded so far that a 127th of the largest is no 127th any more."""
    tiny = np.array([2.6e-43, -2.6e-43, 1e-44, 0.0], np.float32)
    decoded = Int8().decode(Int8().encode(tiny), 4)
    assert (np.sign(decoded) == np.sign(tiny)).all()
    assert (np.abs(decoded) <= np.abs(tiny)).all()


def test_a_share_of_numbers_is_not_one_more() -> None:
    """0.07 * 100 is a little more than 7 in binary."""
    assert len(TopK(0.07).encode(np.arange(100, dtype=np.float32))[0]) == 7
    assert len(TopK(1.0).encode(np.arange(3, dtype=np.float32))[0]) == 3


@pytest.mark.parametrize("weight", [np.inf, np.nan])
def test_a_liar_about_its_weight_does_not_count(weight: float) -> None:
    def work(comm: Any) -> Any:
        links = Links(comm)
        try:
            mine = np.full(2, 9.0 if comm.rank == 1 else 1.0)
            return settled(links, Median(), mine, weight if comm.rank == 1 else 5.0)
        finally:
            links.close()

    assert [merged.tolist() for merged in ranks(3, work)] == [[1.0, 1.0]] * 3
