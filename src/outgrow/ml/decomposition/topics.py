"""The topics of documents whose words' topics are known, by variational inference (Blei, Ng, Jordan 2003)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from types import ModuleType
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.special import gammaln, polygamma, psi

from outgrow._optional import optional
from outgrow.data.matrix import is_sparse
from outgrow.errors import DataError, MissingExtraError

_SMALLEST = 1e-100
_NEWTON_STEPS, _NEWTON_TOL, _LEAST_STEP = 20, 1e-6, 1e-6
_TOGETHER = 1 << 20
"""So many numbers of words and topics are worked on at once where nothing is compiled."""
_WORTH = 1 << 16
"""So many of them are worth the time it takes to load what was compiled."""


def expected_logs(shares: np.ndarray) -> np.ndarray:
    """The expected logarithms of proportions that Dirichlet distributions draw.

    Parameters
    ----------
    shares : shape (distributions, kinds), their parameters.
    """
    logs: np.ndarray = psi(shares) - psi(shares.sum(axis=1))[:, None]
    return logs


@dataclass(frozen=True, eq=False)
class Topics:
    """What is known of topics while documents are looked at.

    Attributes
    ----------
    words : ndarray of shape (words, topics), the exponential of the expected logarithm of each word.
    prior : ndarray of shape (topics,), of each topic in a document.
    max_iter, tol : shares of a document settle in so many steps, or when they change by less than this.
    """

    words: np.ndarray
    prior: np.ndarray
    max_iter: int
    tol: float

    @classmethod
    def of(cls, components: np.ndarray, prior: Any, max_iter: int, tol: float) -> Topics:
        """From the parameters of the topics' distributions.

        Parameters
        ----------
        components : shape (topics, words).
        prior, max_iter, tol : as above; the prior may be one number for all topics.
        """
        return cls.known(np.exp(expected_logs(components)), prior, max_iter, tol)

    @classmethod
    def known(cls, words: np.ndarray, prior: Any, max_iter: int, tol: float) -> Topics:
        """From what the words of topics are.

        Parameters
        ----------
        words : shape (topics, words), the exponential of the expected logarithm of each word.
        prior, max_iter, tol : as above; the prior may be one number for all topics.
        """
        each = np.ascontiguousarray(np.broadcast_to(np.asarray(prior, dtype=np.float64), len(words)))
        return cls(np.ascontiguousarray(words.T), each, max_iter, tol)

    def shares(self, X: Any) -> np.ndarray:
        """How much of each topic documents have, as parameters of Dirichlet distributions.

        Parameters
        ----------
        X : CSR of shape (documents, words).

        Returns
        -------
        Shape (documents, topics).
        """
        topics = self.words.shape[1]
        shares = np.ones((X.shape[0], topics))
        kernels = _kernels(X.nnz * topics)
        if kernels is not None:
            kernels.settled(*_parts(X), self.words, self.prior, self.max_iter, self.tol, shares)
            return shares
        for rows in _some(X, topics):
            self._settle(X[rows], shares[rows])
        return shares

    def sums(self, X: Any, shares: np.ndarray, *, words: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """What documents say of the words of topics, and the bound of their likelihood.

        Parameters
        ----------
        X : CSR of shape (documents, words).
        shares : as `shares` gives them.
        words : whether the words are wanted, not the bound alone.

        Returns
        -------
        Shape (words, topics), without the factor `words`, or (0, topics); and the bound, the number of words
        and of documents, of shape (3,).
        """
        topics = self.words.shape[1]
        sums, bound = np.zeros((len(self.words) if words else 0, topics)), np.zeros(2)
        kernels = _kernels(X.nnz * topics)
        if kernels is not None:
            kernels.summed(*_parts(X), self.words, self.prior, shares, sums, bound)
        else:
            for rows in _some(X, topics):
                self._sum(X[rows], shares[rows], sums, bound)
        return sums, np.append(bound, X.shape[0])

    # ---- without compiled code ---------------------------------------------------------------------------

    def _settle(self, X: Any, shares: np.ndarray) -> None:
        going = np.arange(X.shape[0])
        for _ in range(self.max_iter):
            part = X[going]
            weight = np.exp(expected_logs(shares[going]))
            new = self.prior + weight * (self._divided(part, weight) @ self.words)
            change = np.abs(new - shares[going]).mean(axis=1)
            shares[going] = new
            going = going[change >= self.tol]
            if not len(going):
                return

    def _sum(self, X: Any, shares: np.ndarray, sums: np.ndarray, bound: np.ndarray) -> None:
        logs = expected_logs(shares)
        weight = np.exp(logs)
        mixed = self._mixed(X, weight)
        if len(sums):
            sums += sp.csr_array((X.data / mixed, X.indices, X.indptr), X.shape).T @ weight
        bound[0] += X.data @ np.log(mixed)
        bound[0] += ((self.prior - shares) * logs + gammaln(shares) - gammaln(self.prior)).sum()
        bound[0] += (gammaln(self.prior.sum()) - gammaln(shares.sum(axis=1))).sum()
        bound[1] += X.data.sum()

    def _mixed(self, X: Any, weight: np.ndarray) -> np.ndarray:
        """What each stored word's topics come to in its document."""
        rows = np.repeat(np.arange(X.shape[0]), np.diff(X.indptr))
        mixed: np.ndarray = np.einsum("ik,ik->i", self.words[X.indices], weight[rows]) + _SMALLEST
        return mixed

    def _divided(self, X: Any, weight: np.ndarray) -> Any:
        return sp.csr_array((X.data / self._mixed(X, weight), X.indices, X.indptr), X.shape)


def counts(X: Any, who: str) -> Any:
    """Rows as counts of words, CSR.

    Parameters
    ----------
    X : shape (documents, words), dense or CSR, of finite numbers.
    who : the class that an error names.

    Raises
    ------
    DataError
        When a number is negative.
    """
    if is_sparse(X) and X.has_canonical_format:
        made = X
    else:
        made = sp.csr_array(X, dtype=np.float64)
        made.sum_duplicates()
    if made.nnz and made.data.min() < 0:
        raise DataError(
            f"Negative values in data passed to {who}: {made.data.min():g} is no number of words. Give "
            "counts, as CountVectorizer makes them, or weights of at least 0."
        )
    return made


def _parts(X: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return (
        np.ascontiguousarray(X.data, dtype=np.float64),
        X.indices.astype(np.int32, copy=False),
        X.indptr.astype(np.int64, copy=False),
    )


def _some(X: Any, topics: int) -> list[slice]:
    """Slices of documents, none with more words than are worked on at once unless it has one document."""
    limit, cuts = max(1, _TOGETHER // topics), [0]
    while cuts[-1] < X.shape[0]:
        start = cuts[-1]
        stop = int(np.searchsorted(X.indptr, X.indptr[start] + limit, side="right")) - 1
        cuts.append(min(max(stop, start + 1), X.shape[0], start + limit))
    return [slice(*ends) for ends in pairwise(cuts)]


def _kernels(numbers: int) -> ModuleType | None:
    """The kernels, where they are worth it and Numba is installed."""
    if numbers < _WORTH:
        return None
    try:
        optional("numba", "fast")
    except MissingExtraError:
        return None
    from outgrow.ml.decomposition import topic_kernels

    return topic_kernels


def learned_prior(prior: np.ndarray, logs: np.ndarray, documents: float) -> np.ndarray:
    """The prior of topics under which documents have their topics best, by Newton's method (Huang 2005).

    Parameters
    ----------
    prior : shape (topics,), where to begin.
    logs : shape (topics,), the expected logarithms of the shares of topics, summed over documents.
    documents : how many there are.
    """
    mean = logs / documents

    def value(alpha: np.ndarray) -> float:
        return float(gammaln(alpha.sum()) - gammaln(alpha).sum() + (alpha - 1) @ mean)

    for _ in range(_NEWTON_STEPS):
        gradient = psi(prior.sum()) - psi(prior) + mean
        curvature, beside = -polygamma(1, prior), polygamma(1, prior.sum())
        common = (gradient / curvature).sum() / (1 / beside + (1 / curvature).sum())
        step, before, length = (gradient - common) / curvature, value(prior), 1.0
        while length > _LEAST_STEP:
            new = prior - length * step
            if new.min() > 0 and value(new) >= before:
                break
            length /= 2
        else:
            return prior
        if np.abs(new - prior).max() <= _NEWTON_TOL * new.max():
            return np.asarray(new)
        prior = new
    return prior
