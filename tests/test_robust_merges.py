"""What a minority of lying ranks can do to a merge: next to nothing, whatever they send."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outgrow.errors import ParameterError
from outgrow.stats.robust import Krum, Mean, Median, Merge, TrimmedMean, median, trimmed_mean

RULES: list[Merge] = [Median(), TrimmedMean(), Krum(), Krum(chosen=4), Median(weighted=True)]
LIES = {
    "sign turned": lambda honest: -10 * honest,
    "huge": lambda honest: np.full_like(honest, 1e300),
    "not a number": lambda honest: np.full_like(honest, np.nan),
    "infinite": lambda honest: np.full_like(honest, -np.inf),
    "just outside": lambda honest: honest.mean(axis=0) + 0.5,
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_a_third_of_the_ranks_lies(rule: Merge, lie: str) -> None:
    random = np.random.default_rng(5)
    truth = random.normal(size=50)
    updates = truth + 0.1 * random.normal(size=(9, 50))
    liars = [0, 4, 8]
    updates[liars] = LIES[lie](updates[liars])
    found = rule.merge(updates, np.full(9, 10.0))
    assert np.abs(found - truth).max() < 0.55
    if lie != "just outside":
        assert not np.abs(Mean().merge(updates, np.ones(9)) - truth).max() < 1


@pytest.mark.parametrize("rule", RULES[:4], ids=str)
def test_a_liar_cannot_buy_influence_by_its_rows(rule: Merge) -> None:
    updates = np.concatenate([np.linspace(0.9, 1.1, 8), [50.0]])[:, None]
    assert 0.9 <= rule.merge(updates, np.array([1.0] * 8 + [1e9]))[0] <= 1.1


@pytest.mark.parametrize("rule", [*RULES, Mean()], ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ranks_that_agree_get_what_they_say(rule: Merge, dtype: type) -> None:
    said = np.random.default_rng(1).normal(size=70_000).astype(dtype)
    updates = np.tile(said, (6, 1))
    before = updates.copy()
    found = rule.merge(updates, np.arange(1.0, 7.0))
    assert found.dtype == dtype
    np.testing.assert_allclose(found, said, rtol=1e-6)
    np.testing.assert_array_equal(updates, before)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 8), st.integers(0, 4), st.integers(0, 2**32 - 1))
def test_medians_are_those_of_numpy(ranks: int, size: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    updates = random.integers(-3, 3, (ranks, size)).astype(float)
    np.testing.assert_allclose(median(updates), np.median(updates, axis=0))
    counts = random.integers(1, 5, ranks)
    repeated = np.repeat(updates, counts, axis=0)
    np.testing.assert_allclose(median(updates, counts), np.median(repeated, axis=0))


def test_a_trimmed_mean_leaves_out_both_ends() -> None:
    updates = np.array([[1.0], [2.0], [4.0], [1e6], [-1e6]])
    np.testing.assert_allclose(trimmed_mean(updates, share=0.2), [7 / 3])
    np.testing.assert_allclose(trimmed_mean(updates, np.array([1.0, 3, 1, 1, 1]), share=0.2), [11 / 5])
    np.testing.assert_allclose(trimmed_mean(updates, np.array([0.0, 0, 0, 1, 1]), share=0.2), [7 / 3])


def test_krum_takes_a_whole_proposal() -> None:
    updates = np.random.default_rng(0).normal(size=(7, 30))
    found = Krum(liars=2).merge(updates, np.ones(7))
    assert (found == updates).all(axis=1).any()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: Krum(liars=2).merge(np.ones((5, 2)), np.ones(5)), "at least 7 ranks"),
        (lambda: Krum(chosen=6).merge(np.ones((6, 2)), np.ones(6)), "5 are left"),
        (lambda: Krum(liars=-1), "liars=-1"),
        (lambda: TrimmedMean(share=0.5), "below 0.5"),
        (lambda: Median().merge(np.ones(3), np.ones(3)), "shape"),
        (lambda: Mean().merge(np.ones((2, 2)), np.array([1.0, -1.0])), "negative"),
        (lambda: Mean().merge(np.ones((2, 2)), np.array([1.0, np.nan])), "finite"),
    ],
)
def test_what_cannot_be_merged_is_refused(wrong: object, words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        wrong()
