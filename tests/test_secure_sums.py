"""Sums of which nobody sees the parts."""

from __future__ import annotations

from math import fsum

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from outgrow.errors import DataError, EngineError, ParameterError, PrivacyError
from outgrow.federation.fixed_point import FixedPoint
from outgrow.federation.masks import MaskedSite, opened_sum, threshold
from outgrow.federation.secret_sharing import recovered, shares

pytest.importorskip("cryptography")


def protocol(
    parts: list[np.ndarray], dropped: tuple[int, ...] = (), late: tuple[int, ...] = ()
) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """The sum of the parts of sites 1, 2, ..., of which some drop out before they send their part, and some
    after; and the masked parts as the coordinator sees them."""
    sites = {number: MaskedSite(number, len(parts), b"sum 1") for number in range(1, len(parts) + 1)}
    keys = {number: site.keys() for number, site in sites.items()}
    sealed = {number: site.sealed(keys) for number, site in sites.items()}
    masked = {
        number: site.masked(parts[number - 1], {of: sealed[of][number] for of in sites if of != number})
        for number, site in sites.items()
        if number not in dropped
    }
    revealed = {number: sites[number].unmasking(list(masked)) for number in masked if number not in late}
    return opened_sum(masked, revealed, keys, len(parts), b"sum 1"), masked


@pytest.mark.parametrize("bits", [32, 64, 128])
@pytest.mark.parametrize(("dropped", "late"), [((), ()), ((2,), (5,)), ((1, 6), ()), ((), (3, 4))])
def test_sums_are_exact_though_a_third_drops_out(
    bits: int, dropped: tuple[int, ...], late: tuple[int, ...]
) -> None:
    random = np.random.default_rng(1)
    point = FixedPoint(bits, bits // 2)
    values = random.normal(size=(6, 200))
    parts = [point.encoded(row, 6) for row in values]
    total, _ = protocol(parts, dropped, late)
    counted = [row for number, row in enumerate(parts, 1) if number not in dropped]
    np.testing.assert_array_equal(total, sum(counted[1:], counted[0].copy()))
    exact = [fsum(column) for column in np.delete(values, [number - 1 for number in dropped], axis=0).T]
    np.testing.assert_allclose(point.decoded(total), exact, atol=6 * 2.0 ** -(bits // 2), rtol=1e-15)


def test_what_the_coordinator_sees_of_a_site_is_even() -> None:
    """All parts are zeros and ones; of what is sent, every byte is as frequent as every other."""
    parts = [np.arange(20_000, dtype=np.uint32) % 2 for _ in range(3)]
    _, masked = protocol(parts)
    for part in masked.values():
        seen = np.bincount(part.view(np.uint8), minlength=256)
        assert chisquare(seen).pvalue > 1e-6
        assert chisquare(np.bincount(part >> 28, minlength=16)).pvalue > 1e-6
    assert chisquare(np.bincount(parts[0].view(np.uint8), minlength=256)).pvalue < 1e-6
    again, other = protocol(parts)
    assert not np.array_equal(masked[1], other[1]), "each sum has masks of its own"
    assert again.tolist() == (3 * parts[0]).tolist()


def test_a_site_opens_a_sum_once_and_of_enough_sites() -> None:
    sites = {number: MaskedSite(number, 4) for number in range(1, 5)}
    keys = {number: site.keys() for number, site in sites.items()}
    sealed = {number: site.sealed(keys) for number, site in sites.items()}
    first = sites[1]
    first.masked(np.zeros(3, np.uint32), {other: sealed[other][1] for other in (2, 3, 4)})
    with pytest.raises(PrivacyError, match="Nothing was told"):
        first.unmasking([1, 2])
    first.unmasking([1, 2, 3])
    with pytest.raises(PrivacyError, match="once"):
        first.unmasking([1, 2, 4])


def test_shares_of_another_site_or_sum_do_not_open() -> None:
    sites = {number: MaskedSite(number, 3, b"sum 1") for number in (1, 2, 3)}
    keys = {number: site.keys() for number, site in sites.items()}
    sealed = {number: site.sealed(keys) for number, site in sites.items()}
    with pytest.raises(EngineError, match="not from it"):
        sites[1].masked(np.zeros(3, np.uint32), {2: sealed[3][1]})
    other = MaskedSite(2, 3, b"sum 2")
    forged = other.sealed({**keys, 2: other.keys()})[1]
    with pytest.raises(EngineError, match="not from it"):
        sites[1].masked(np.zeros(3, np.uint32), {2: forged})


def test_too_few_sites_are_refused() -> None:
    assert [threshold(sites) for sites in (3, 4, 6, 9)] == [2, 3, 4, 6]
    with pytest.raises(ParameterError, match="at least 3"):
        MaskedSite(1, 2)
    with pytest.raises(PrivacyError):
        protocol([np.zeros(2, np.uint64)] * 6, dropped=(1, 2, 3))
    with pytest.raises(EngineError, match="needs 4"):
        protocol([np.zeros(2, np.uint64)] * 6, late=(1, 2, 3))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=5),
    st.lists(st.floats(-1e-3, 1e-3), min_size=1, max_size=5),
)
def test_fixed_point_is_exact_to_its_last_place(large: list[float], small: list[float]) -> None:
    values = np.array([*large, *small])
    point = FixedPoint()
    sums = sum((point.encoded(values, 8) for _ in range(7)), point.encoded(values, 8))
    np.testing.assert_allclose(point.decoded(sums), 8 * values, rtol=1e-15, atol=8 * 2.0**-64)
    apart = point.encoded(values, 8) + point.encoded(-values, 8)
    np.testing.assert_array_equal(point.decoded(apart), np.zeros(len(values)))


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e19])
def test_what_has_no_room_is_refused(value: float) -> None:
    with pytest.raises(DataError, match="no room"):
        FixedPoint().encoded(np.array([value]), 3)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**512), st.integers(1, 6), st.integers(0, 5))
def test_shares_tell_a_secret_only_together(secret: int, least: int, more: int) -> None:
    parts = shares(secret, least, range(1, least + more + 1))
    held = dict(list(parts.items())[-least:])
    assert recovered(held) == secret
    if least > 1:
        held.popitem()
        assert recovered(held) != secret
