"""Networks over sites that keep their rows: rounds of averaging, some of the sites at a time."""

from __future__ import annotations

import socket
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.base import clone

import outgrow as og
from federations import federate, leaked
from outgrow.engine.dataset import Dataset, from_arrow
from outgrow.engine.handshake import listening
from outgrow.errors import ParameterError, PrivacyError, RankLostError
from outgrow.federation.coordinate import coordinate
from outgrow.federation.site import Task, take_part
from outgrow.stats.proposals import Proposals

torch = pytest.importorskip("torch")


def tables(sizes: tuple[int, ...] = (200, 120, 280)) -> list[pa.Table]:
    random = np.random.default_rng(3)
    parts = []
    for number, size in enumerate(sizes):
        X = random.normal(0.3 * number, 1.0, size=(size, 3))
        frame = pd.DataFrame(X, columns=["hour", "distance", "wind"])
        frame["late"] = np.where(X[:, 0] * X[:, 1] + X[:, 2] > 0, "yes", "no")
        parts.append(pa.Table.from_pandas(frame, preserve_index=False))
    return parts


def network(strategy: Any) -> Any:
    return og.TorchClassifier(
        module__hidden=16, max_epochs=15, batch_size=60, lr=0.02, strategy=strategy, random_state=0
    )


@pytest.mark.parametrize(
    "strategy",
    [
        og.FedAvg(every=5),
        og.FedAvg(every=5, share=0.6, proximal=0.05),
        og.FedAvg(every=5, server="adam", server_lr=0.05),
    ],
    ids=str,
)
def test_sites_average_what_they_learn(strategy: og.FedAvg) -> None:
    parts = tables()
    found = federate(lambda rows: clone(network(strategy)).fit(rows, "late"), parts)
    assert found.errors == {}
    assert leaked(found, parts) == set()
    rows = pa.concat_tables(parts)
    scores = found.model.evaluate(rows, "late")
    assert scores["accuracy"] > 0.85
    for model in found.site_models:
        assert all((model.weights_[name] == found.model.weights_[name]).all() for name in model.weights_)
    if strategy == og.FedAvg(every=5):
        ddp = federate(lambda rows: clone(network("ddp")).fit(rows, "late"), parts)
        assert all(len(seldom) < len(often) / 2 for seldom, often in zip(found.sent, ddp.sent, strict=True))


def lying(rows: Dataset, liars: set[int]) -> Dataset:
    """The rows of a site, which turns round all changes it tells, a hundred times as far, when it lies."""
    link = rows.engine.comm  # type: ignore[union-attr]
    if link.rank in liars:
        honest = link.allreduce

        def lie(state: Any) -> Any:
            if isinstance(state, Proposals):
                loud = np.float32([*[-100.0] * state.size, 1.0])
                state = replace(state, rows=tuple(row * loud for row in state.rows))
            elif isinstance(state, tuple) and isinstance(state[0], np.ndarray) and len(state[0]) > 50:
                state = -100.0 * state[0], state[1]
            return honest(state)

        link.allreduce = lie
    return rows


@pytest.mark.parametrize(
    ("merge", "sites", "right"),
    [(None, 6, False), (og.Median(), 6, True), (og.TrimmedMean(1 / 3), 6, True), (og.Krum(2), 7, True)],
    ids=str,
)
def test_a_third_of_the_sites_may_lie(merge: Any, sites: int, right: bool) -> None:
    parts = tables((120,) * sites)
    strategy = og.FedAvg(every=5, merge=merge)
    found = federate(lambda rows: network(strategy).fit(lying(rows, {2, 5}), "late"), parts)
    if not right:
        assert found.errors == {} or "is no number" in str(found.errors[1])
    whole = pa.concat_tables(parts)
    assert right == (not found.errors and found.model.evaluate(whole, "late")["accuracy"] > 0.8)
    if right:
        assert leaked(found, parts) == set()
        for model in found.site_models:
            assert all((model.weights_[name] == found.model.weights_[name]).all() for name in model.weights_)


def test_strategies_that_join_sites_are_refused() -> None:
    found = federate(lambda rows: network(og.LocalSGD(every=5)).fit(rows, "late"), tables())
    assert isinstance(found.errors[1], PrivacyError)
    assert "connections between the sites" in str(found.errors[1])


@pytest.mark.parametrize(
    "wrong",
    [{"share": 0.0}, {"share": 1.5}, {"proximal": -1.0}, {"server": "sgd"}, {"server_lr": 0.0}, {"merge": 3}],
    ids=str,
)
def test_wrong_settings_are_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(ParameterError, match=next(iter(wrong))):
        og.FedAvg(**wrong)


def test_behind_masks_it_is_the_same_network() -> None:
    pytest.importorskip("cryptography")
    parts = tables((60, 40, 80))
    model = og.TorchClassifier(module__hidden=4, max_epochs=3, batch_size=60, strategy=og.FedAvg(every=2))
    hidden, plain = (
        federate(lambda rows: clone(model).fit(rows, "late"), parts, secure=secure)
        for secure in (True, False)
    )
    assert hidden.errors == plain.errors == {}
    for name, weights in plain.model.weights_.items():
        np.testing.assert_allclose(hidden.model.weights_[name], weights, rtol=1e-4, atol=1e-6)


def test_some_layers_stay_at_each_site() -> None:
    """Sites that mean the opposite by the same columns learn together what comes before the last layer."""
    parts = tables((200, 200))
    turned = np.where(np.array(parts[1]["late"]) == "yes", "no", "yes")
    parts[1] = parts[1].set_column(3, "late", pa.array(turned))
    module = torch.nn.Sequential(
        OrderedDict(
            body=torch.nn.Linear(3, 16),
            act=torch.nn.ReLU(),
            norm=torch.nn.BatchNorm1d(16),
            head=torch.nn.Linear(16, 2),
        )
    )
    scores = {}
    for personal in ((), ("head",)):
        model = og.TorchClassifier(
            module, max_epochs=25, batch_size=100, lr=0.02, strategy=og.FedAvg(every=4, personal=personal)
        )
        found = federate(lambda rows, m=model: clone(m).fit(rows, "late"), parts)
        assert found.errors == {}
        pairs = zip(found.site_models, parts, strict=True)
        scores[personal] = [site.evaluate(rows, "late")["accuracy"] for site, rows in pairs]
        first, second = (site.weights_ for site in found.site_models)
        assert (first["body.weight"] == second["body.weight"]).all()
        assert (first["head.weight"] == second["head.weight"]).all() == (not personal)
        # PFLlib #269: a count of batches that only some have seen
        steps = found.model.weights_["norm.num_batches_tracked"]
        assert steps == first["norm.num_batches_tracked"] == 25 * 4
    assert min(scores["head",]) > 0.8 > min(scores[()])
    wrong = og.TorchClassifier(module, strategy=og.FedAvg(personal=["tail"]))
    with pytest.raises(ParameterError, match=r"'tail'\] have no parameter"):
        wrong.fit(parts[0], "late")


def _network_with(every: int = 2) -> Any:
    return og.TorchClassifier(
        module__hidden=8,
        max_epochs=20,
        batch_size=60,
        lr=0.02,
        strategy=og.FedAvg(every=every),
        random_state=0,
    )


def _slow_or_gone(rows: Dataset, rank: int, *, gone: bool) -> Dataset:
    """The rows of a site that is late in its twentieth merge, or leaves there; another one is slow."""
    link = rows.engine.comm  # type: ignore[union-attr]
    merged, calls = link.allreduce, [0]

    def late(state: Any) -> Any:
        calls[0] += 1
        time.sleep(0.02 * (link.rank == 1))
        if calls[0] == 20 and link.rank == rank:
            if gone:
                link._line._peer.shutdown(socket.SHUT_RDWR)
            time.sleep(0.8)
        return merged(state)

    link.allreduce = late
    return rows


@pytest.mark.parametrize("gone", [False, True], ids=["late", "gone"])
def test_rounds_go_on_without_a_site(gone: bool) -> None:
    parts = tables((200, 60, 200))
    fit = lambda rows: _network_with().fit(_slow_or_gone(rows, 2, gone=gone), "late")  # noqa: E731
    found = federate(fit, parts, patience=0.4, quorum=0.6)
    assert set(found.errors) == ({2} if gone else set()), found.errors
    assert found.missed.keys() == {"site-2"}
    assert found.missed["site-2"] > 1
    assert found.model.evaluate(pa.concat_tables(parts), "late")["accuracy"] > 0.7
    if not gone:
        weights = found.site_models[1].weights_
        assert all((weights[name] == value).all() for name, value in found.model.weights_.items())
        assert found.missed["site-2"] < 45, "it comes back"


def _telling(rows: Dataset, told: set[int], late: int | None = None) -> Dataset:
    """The rows of a site, whose changes are noted; one may be late when all say who has rows."""
    link = rows.engine.comm  # type: ignore[union-attr]
    merged, asked = link.allreduce, [False]

    def merge(state: Any) -> Any:
        if isinstance(state, tuple) and isinstance(state[0], np.ndarray) and len(state[0]) > 50:
            told.add(link.rank)
        time.sleep(0.02 * (late is not None and link.rank == 1))  # so that the late one can catch up
        if link.rounds and isinstance(state, np.ndarray) and state.shape == (link.size,) and not asked[0]:
            asked[0] = True
            time.sleep(0.8 * (link.rank == late))
        return merged(state)

    link.allreduce = merge
    return rows


@pytest.mark.parametrize(
    ("sizes", "late"), [((200, 120, 5), None), ((200, 60, 200), 2)], ids=["few rows", "late at first"]
)
def test_of_a_share_of_the_sites_each_tells_in_some_round(sizes: tuple[int, ...], late: int | None) -> None:
    """Also one of whose rows none is in the first round, and one that was late when all said who has any."""
    parts, told = tables(sizes), set[int]()
    model = network(og.FedAvg(every=1, share=0.5)).set_params(max_epochs=6)

    def fit(rows: Dataset) -> Any:
        return clone(model).fit(_telling(rows, told, late), "late")

    found = federate(fit, parts, patience=0.4 if late else 60, quorum=0.6 if late else 1.0)
    assert found.errors == {}
    assert told == {1, 2, 3}


@pytest.mark.parametrize("quorum", [1.0, 0.6])
def test_a_site_that_is_gone_when_all_is_learned_takes_nothing_away(quorum: float) -> None:
    """Where rounds could do without it; a fit that needs all sites needs them to the end."""
    parts = tables((200, 60, 200))
    model = _network_with().set_params(max_epochs=2)
    secret = b"a secret that all of the sites know"
    with closing(listening("127.0.0.1", 0)) as listener, ThreadPoolExecutor(3) as pool:
        address = listener.getsockname()[:2]

        def site(number: int) -> Any:
            task = _Leaving(clone(model), "late") if number == 1 else Task(clone(model), "late")
            rows = from_arrow(parts[number])
            return take_part(task, rows, f"site-{number}", address, secret, joining=20, deadline=20)

        sites = [pool.submit(site, number) for number in range(3)]
        task, names = Task(model, "late"), [f"site-{number}" for number in range(3)]
        waits = {"joining": 20.0, "deadline": 20.0, "patience": 20.0}
        if quorum == 1.0:
            with pytest.raises(RankLostError, match="'site-1'"):
                coordinate(task, names, listener, secret, **waits)  # type: ignore[arg-type]
            return
        result = coordinate(task, names, listener, secret, quorum=quorum, **waits)  # type: ignore[arg-type]
        left = [sites[number].result() for number in (0, 2)]
    assert result.sites.keys() == {"site-0", "site-2"}
    assert result.missed["site-1"] > 0
    weights = result.model.weights_
    assert all((one.weights_[name] == value).all() for one in left for name, value in weights.items())


class _Leaving(Task):
    """A site whose connection ends once its model is there."""

    def fit(self, rows: Dataset) -> None:
        super().fit(rows)
        rows.engine.comm._line._peer.shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr]
