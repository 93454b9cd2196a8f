"""Rounds with noise in them, and what epsilon that is."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

import outgrow as og
from federations import federate, leaked
from outgrow.errors import ParameterError
from outgrow.stats.privacy import gaussian_epsilon, secret_normals, shortened
from test_federated_networks import network, tables

torch = pytest.importorskip("torch")

PRIVATE: dict[str, Any] = {"clip": 1.0, "noise": 0.05, "delta": 1e-3}


@pytest.mark.parametrize(
    ("noise", "rounds", "delta"), [(1.0, 1, 1e-5), (0.7, 3, 1e-3), (4.0, 100, 1e-6), (30.0, 5, 0.2)]
)
def test_epsilon_is_exact(noise: float, rounds: int, delta: float) -> None:
    """Of all rounds as what a test by their sum can tell, by its definition; within the bound of zCDP."""
    epsilon, shift = gaussian_epsilon(noise, rounds, delta), math.sqrt(rounds) / noise
    rho = shift**2 / 2
    assert 0 <= epsilon <= rho + 2 * math.sqrt(rho * math.log(1 / delta))

    def beyond(x: float) -> float:
        return max(0.0, float(norm.pdf(x, shift) - math.exp(epsilon) * norm.pdf(x)))

    edge = epsilon / shift + shift / 2
    told = quad(beyond, edge, edge + 12 + shift, limit=200)[0]
    assert told == pytest.approx(delta, rel=1e-3) if epsilon else told <= delta
    accounting = pytest.importorskip("dp_accounting")
    accountant = accounting.pld.PLDAccountant()
    accountant.compose(accounting.GaussianDpEvent(noise), rounds)
    assert epsilon == pytest.approx(accountant.get_epsilon(delta), abs=1e-3)
    renyi = accounting.rdp.RdpAccountant()
    renyi.compose(accounting.GaussianDpEvent(noise), rounds)
    assert epsilon <= renyi.get_epsilon(delta)


def test_noise_is_normal_and_changes_have_a_norm() -> None:
    one, other = secret_normals(40_001), secret_normals(40_001)
    assert abs(one.mean()) < 0.03
    assert abs(one.std() - 1) < 0.03
    assert abs((one**4).mean() - 3) < 0.4
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.03
    assert np.linalg.norm(shortened(np.array([3.0, 4.0]), 1.0)) == pytest.approx(1.0)
    assert shortened(np.array([3.0, 4.0]), 6.0).tolist() == [3.0, 4.0]
    assert shortened(np.array([np.nan, 4.0]), 6.0).tolist() == [0.0, 0.0]


def test_sites_learn_behind_noise(tmp_path: Path) -> None:
    parts = tables((150,) * 4)
    strategy = og.FedAvg(every=5, **PRIVATE)
    found, again = (federate(lambda rows: network(strategy).fit(rows, "late"), parts) for _ in range(2))
    assert found.errors == {}
    assert leaked(found, parts) == set()
    assert found.model.evaluate(parts[0], "late")["accuracy"] > 0.7
    rounds = 15 * 10 // 5
    assert found.model.epsilon_ == pytest.approx(gaussian_epsilon(0.05, rounds, 1e-3))
    for model in found.site_models:
        assert model.epsilon_ == found.model.epsilon_
        assert all((model.weights_[name] == found.model.weights_[name]).all() for name in model.weights_)
    assert any(
        (again.model.weights_[name] != found.model.weights_[name]).any() for name in again.model.weights_
    )
    assert np.isnan(found.model.train_loss_).all()
    found.model.save(tmp_path / "late")
    assert og.load(tmp_path / "late").epsilon_ == found.model.epsilon_


def test_a_round_has_the_noise_that_it_says() -> None:
    """Of three sites, whose shares are those of two; in one round of changes that are next to none."""
    parts = tables((60, 60, 60))

    def weights(noise: float) -> np.ndarray:
        strategy = og.FedAvg(every=3, clip=1e-4, noise=noise, delta=0.01 if noise else None)
        net = network(strategy).set_params(max_epochs=1, module__hidden=64)
        model = federate(lambda rows: net.fit(rows, "late"), parts).model
        learned = model.module_.parameters()
        return torch.cat([value.detach().reshape(-1) for value in learned]).numpy()

    noise = weights(1000.0) - weights(0.0)
    assert noise.std() == pytest.approx(1000 * 1e-4 * math.sqrt(3 / 2) / 3, rel=0.2)


def test_epsilon_is_of_the_rounds_a_site_took_part_in() -> None:
    strategy = og.FedAvg(every=5, share=0.25, **PRIVATE)
    net = network(strategy).set_params(max_epochs=4)
    model = federate(lambda rows: net.fit(rows, "late"), tables((150,) * 4)).model
    options = [gaussian_epsilon(0.05, rounds, 1e-3) for rounds in range(2, 8)]
    assert any(model.epsilon_ == pytest.approx(option) for option in options)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"noise": 1.0, "delta": 0.1}, "give clip"),
        ({"noise": 1.0, "clip": 1.0}, "give delta"),
        ({"noise": -1.0}, "noise"),
        ({"clip": 0.0}, "clip"),
        ({"delta": 1.0}, "delta"),
        ({**PRIVATE, "merge": og.Median()}, "noise or a merge"),
    ],
    ids=str,
)
def test_wrong_settings_are_named(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        og.FedAvg(**wrong)


class Normed(torch.nn.Sequential):
    """A module that keeps means of its rows."""

    def __init__(self) -> None:
        super().__init__(torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 2))


def test_what_tells_more_is_refused() -> None:
    strategy, parts = og.FedAvg(every=2, **PRIVATE), tables((60, 60, 60))
    with pytest.raises(ParameterError, match="there is one process"):
        network(strategy).fit(parts[0], "late")
    for further in ({"ema": 0.9}, {"early_stopping": True}):
        with pytest.raises(ParameterError, match="tell more of the rows"):
            network(strategy).set_params(**further).fit(parts[0], "late")
    normed = og.TorchClassifier(Normed, strategy=strategy, batch_size=60, max_epochs=3)
    found = federate(lambda rows: normed.fit(rows, "late"), parts)
    assert any("LayerNorm" in str(error) for error in found.errors.values())


def test_noise_that_may_be_missing_is_not_counted_on() -> None:
    """A quorum goes on without the share of the noise of who is gone, and epsilon would be too small."""
    strategy = og.FedAvg(every=2, **PRIVATE)
    found = federate(lambda rows: network(strategy).fit(rows, "late"), tables((60, 60, 60)), quorum=0.6)
    assert set(found.errors) == {0, 1, 2, 3}
    with pytest.raises(ParameterError, match=r"counts on the noise of all .* quorum below 1"):
        raise found.errors[0]
