"""The topics of documents, compiled by Numba: one document after the other, over its words alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import types

from outgrow.ml.core.compiled import GIVEN, ROWS, kernel, typed_kernel

_PLACES = types.Array(types.int32, 1, "C", readonly=True)
_ENDS = types.Array(types.int64, 1, "C", readonly=True)
_TABLE, _NUMBER = types.float64[:, ::1], types.float64
_SMALLEST = 1e-100


@kernel
def _digamma(x: float) -> float:
    """The derivative of the logarithm of the gamma function, by its expansion for numbers from 10 on."""
    below = 0.0
    while x < 10.0:
        below += 1.0 / x
        x += 1.0
    f = 1.0 / (x * x)
    series = f * (1 / 12 - f * (1 / 120 - f * (1 / 252 - f * (1 / 240 - f * (1 / 132 - f * 691 / 32760)))))
    return np.log(x) - 0.5 / x - series - below


@typed_kernel(GIVEN, _PLACES, _ENDS, ROWS, GIVEN, types.int64, _NUMBER, _TABLE)
def settled(
    data: Any, places: Any, ends: Any, words: Any, prior: Any, max_iter: int, tol: float, shares: Any
) -> None:
    """Let the shares of topics in documents settle.

    Parameters
    ----------
    data, places, ends : the counts, as CSR holds them.
    words : of shape (words, topics), the exponential of the expected logarithm of each word in each topic.
    prior : of shape (topics,), of each topic in a document.
    max_iter, tol : it ends after so many steps, or when shares change by less than this on average.
    shares : of shape (documents, topics), from which it begins; is changed.
    """
    topics = shares.shape[1]
    weight, new = np.empty(topics), np.empty(topics)
    for d in range(len(ends) - 1):
        own = shares[d]
        for _ in range(max_iter):
            total = _digamma(own.sum())
            for k in range(topics):
                weight[k] = np.exp(_digamma(own[k]) - total)
                new[k] = 0.0
            for i in range(ends[d], ends[d + 1]):
                word = words[places[i]]
                mixed = _SMALLEST
                for k in range(topics):
                    mixed += weight[k] * word[k]
                share = data[i] / mixed
                for k in range(topics):
                    new[k] += share * word[k]
            change = 0.0
            for k in range(topics):
                value = prior[k] + weight[k] * new[k]
                change += abs(value - own[k])
                own[k] = value
            if change / topics < tol:
                break


@typed_kernel(GIVEN, _PLACES, _ENDS, ROWS, GIVEN, ROWS, _TABLE, types.float64[::1])
def summed(
    data: Any, places: Any, ends: Any, words: Any, prior: Any, shares: Any, sums: Any, bound: Any
) -> None:
    """Add what documents say of the words of topics, and the bound of their likelihood.

    Parameters
    ----------
    data, places, ends, words, prior : as in `settled`.
    shares : as it left them.
    sums : of shape (words, topics), without the factor `words`; of shape (0, topics) where only the bound is
        wanted.
    bound : of shape (2,), where to add the bound and the number of words.
    """
    topics = shares.shape[1]
    weight, of_prior = np.empty(topics), math.lgamma(prior.sum())
    for k in range(topics):
        of_prior -= math.lgamma(prior[k])
    for d in range(len(ends) - 1):
        own, whole = shares[d], shares[d].sum()
        total = _digamma(whole)
        value = of_prior - math.lgamma(whole)
        for k in range(topics):
            expected = _digamma(own[k]) - total
            weight[k] = np.exp(expected)
            value += (prior[k] - own[k]) * expected + math.lgamma(own[k])
        for i in range(ends[d], ends[d + 1]):
            word = words[places[i]]
            mixed = _SMALLEST
            for k in range(topics):
                mixed += weight[k] * word[k]
            value += data[i] * np.log(mixed)
            bound[1] += data[i]
            share = data[i] / mixed
            if len(sums):
                line = sums[places[i]]
                for k in range(topics):
                    line[k] += share * weight[k]
        bound[0] += value
