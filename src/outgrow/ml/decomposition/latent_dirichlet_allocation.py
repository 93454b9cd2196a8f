"""Topics of documents."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Self

import numpy as np
import pyarrow as pa
from sklearn.utils.validation import check_is_fitted

from outgrow.engine.blocks import Block, MatrixSpec
from outgrow.engine.matrix import MatrixView
from outgrow.engine.shard import Shard
from outgrow.errors import DataError, ParameterError
from outgrow.ml.base.expansion import Components
from outgrow.ml.core.columns import Columns
from outgrow.ml.core.exports import refusal
from outgrow.ml.core.inputs import open_training
from outgrow.ml.core.parameters import (
    COLUMNS,
    LIST,
    RANDOM_STATE,
    Integer,
    Number,
    OneOf,
    Unused,
    numpy_random,
    seed,
)
from outgrow.ml.core.task import Task
from outgrow.ml.decomposition.topics import Topics, counts, expected_logs, learned_prior
from outgrow.ml.export.sklearn.flow import Flow
from outgrow.ml.export.sklearn.twin import twin, with_learned

AUTO = "auto"
_GOES_ON = ("components_", "doc_topic_prior_", "topic_word_prior_", "n_components_", "n_batch_iter_")
"""From where `partial_fit` goes on."""
SLICES = 20
"""Into so many parts the first epoch of learning_method='online' cuts the rows."""
MOST_NUMBERS = 1 << 28
"""Numbers of all topics and words, which every pass sums on every thread."""


class LatentDirichletAllocation(Components):
    """Find topics in counts of words by variational Bayes (Blei, Ng and Jordan 2003).

    One pass over the documents for each iteration, in which their topics settle anew from equal ones.

    Parameters
    ----------
    n_components : how many topics.
    columns : which columns, by name or selector; all by default. They are replaced by
        `latentdirichletallocation0` and so on, the share of each topic in the document.
    doc_topic_prior : of topics in documents: a number; one for each topic; or 'auto', learned in each
        iteration from the documents. None is one divided by `n_components`.
    topic_word_prior : of words in topics: a number, or one for each word. None is one divided by
        `n_components`.
    learning_method : 'batch', or 'online' for a first iteration over 20 parts of the documents that hashes
        choose, one after the other (Hoffman, Blei and Bach 2010); those that follow are of 'batch'.
    learning_decay, learning_offset : part t of that counts `(learning_offset + t) ** -learning_decay`.
    max_iter : how many iterations.
    evaluate_every : every so many iterations, stop if the perplexity fell by less than `perp_tol`; at 0 or
        below, never.
    perp_tol : see there.
    mean_change_tol, max_doc_update_iter : the topics of a document are settled when they change by less than
        this on average, or after so many steps.
    random_state : another number begins with other topics. With 'batch' they are those that scikit-learn
        begins with.
    total_samples : of `partial_fit`, so many documents there will be in all.
    batch_size, n_jobs, verbose : accepted as in scikit-learn, without effect.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_columns), parameters of the topics' distributions of
        words: about how often each word came from each topic.
    exp_dirichlet_component_ : ndarray of the same shape, the exponential of the expected logarithms.
    doc_topic_prior_, topic_word_prior_ : the priors: numbers, or ndarrays of one for each topic or word.
    bound_ : the bound of the log likelihood of a word, in the documents of the fit, at the last iteration;
        see `score`.
    n_iter_ : iterations.
    n_batch_iter_ : the number of the next part that `partial_fit` gets, from 1.

    Notes
    -----
    Unlike scikit-learn: `score` and `perplexity` are per word and of the documents alone, without the term of
    the topics, which grows with their number and not with the documents; documents begin with equal topics,
    not with random ones; 'online' learns from 20 parts, then from all; a call of `partial_fit` is one step
    from all its rows, not one for each `batch_size`; priors may differ between topics and between words, and
    be above 1.

    Unlike Spark MLlib's `LDA(k=10, maxIter=20, optimizer='online')`: the prior of topics is learned
    where `doc_topic_prior='auto'`; `logPerplexity` is the negated `score` but for the term of the topics;
    `topics` is `describeTopics`; there is no 'em'.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.array([[4, 3, 0, 0], [3, 5, 0, 0], [0, 0, 4, 6], [0, 1, 5, 3]])
    >>> model = og.LatentDirichletAllocation(2, random_state=0).fit(X)
    >>> model.transform(X).argmax(axis=1).tolist()
    [0, 0, 1, 1]
    """

    takes_sparse = True
    stem = "latentdirichletallocation"
    test_parameters = {"n_components": 2, "max_iter": 3}
    _export_tolerance = 1e-6
    no_exports = {"ONNX": "it looks for the topics of a row until they change no more"}
    parameters = {
        "n_components": Integer(low=1),
        "columns": COLUMNS,
        "doc_topic_prior": Number(above=0, below=np.inf) | LIST | OneOf(AUTO, None),
        "topic_word_prior": Number(above=0, below=np.inf) | LIST | None,
        "learning_method": OneOf("batch", "online"),
        "learning_decay": Number(low=0, high=1),
        "learning_offset": Number(low=1, below=np.inf),
        "max_iter": Integer(low=0),
        "batch_size": Unused(Integer(low=1)),
        "evaluate_every": Integer(),
        "total_samples": Number(above=0, below=np.inf),
        "perp_tol": Number(low=0),
        "mean_change_tol": Number(low=0),
        "max_doc_update_iter": Integer(low=0),
        "n_jobs": Unused(),
        "verbose": Unused(),
        "random_state": RANDOM_STATE,
    }
    components_: np.ndarray
    exp_dirichlet_component_: np.ndarray
    doc_topic_prior_: Any
    topic_word_prior_: Any
    n_batch_iter_: int
    _part_of_stream = False

    def __init__(
        self,
        n_components: int = 10,
        *,
        columns: Columns = None,
        doc_topic_prior: Any = None,
        topic_word_prior: Any = None,
        learning_method: str = "batch",
        learning_decay: float = 0.7,
        learning_offset: float = 10.0,
        max_iter: int = 10,
        batch_size: int = 128,
        evaluate_every: int = -1,
        total_samples: float = 1e6,
        perp_tol: float = 1e-1,
        mean_change_tol: float = 1e-3,
        max_doc_update_iter: int = 100,
        n_jobs: int | None = None,
        verbose: int = 0,
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.columns = columns
        self.doc_topic_prior = doc_topic_prior
        self.topic_word_prior = topic_word_prior
        self.learning_method = learning_method
        self.learning_decay = learning_decay
        self.learning_offset = learning_offset
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.evaluate_every = evaluate_every
        self.total_samples = total_samples
        self.perp_tol = perp_tol
        self.mean_change_tol = mean_change_tol
        self.max_doc_update_iter = max_doc_update_iter
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.random_state = random_state

    @classmethod
    def _test_columns(cls, random: np.random.Generator, rows: int) -> dict[str, np.ndarray]:
        return {name: random.integers(0, 5, rows).astype(np.float64) for name in "abc"}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        return tags

    # ---- learn -------------------------------------------------------------------------------------------

    def _learn_columns(self, shard: Shard, names: list[str], task: Task) -> None:
        width, count = len(self.input_names_), self.n_components
        if width * count > MOST_NUMBERS:
            raise DataError(
                f"{count} topics of {width} words are {width * count} numbers, which each pass sums: up to "
                f"{MOST_NUMBERS} are held. Ask for fewer topics, or leave out rare words with min_df."
            )
        number = seed(self.random_state)
        goes_on = self._part_of_stream and hasattr(self, "components_")
        if not goes_on:
            self.n_components_, self.n_batch_iter_ = count, 1
            started = None if self._learns_prior else self.doc_topic_prior
            self.doc_topic_prior_ = _prior(started, count, count, "doc_topic_prior", "topics")
            self.topic_word_prior_ = _prior(self.topic_word_prior, width, count, "topic_word_prior", "words")
            self.components_ = numpy_random(number).gamma(100.0, 0.01, (count, width))
        view = shard.matrix(MatrixSpec(tuple(names), hashed=task.columns, by_rows=True))
        if self._part_of_stream:
            self._step(view)
        else:
            self._climb(view, number)
        self.exp_dirichlet_component_ = np.ascontiguousarray(self._topics().words.T)

    def _climb(self, view: MatrixView, number: int) -> None:
        # each pass lets the documents settle anew: from where the last left them they would hardly leave it
        self.n_iter_, self.bound_, before = 0, -np.inf, np.inf
        if self.learning_method == "online" and self.max_iter:
            self._first_epoch(view, number)
        while self.n_iter_ < self.max_iter:
            topics = self._topics()
            sums, bound = view.reduce(lambda block, now=topics: self._learned_of(block, now))  # type: ignore[misc]
            self.components_ = self.topic_word_prior_ + (sums * topics.words).T
            self._learn_prior(bound)
            self.n_iter_ += 1
            self.bound_ = _per_word(bound)
            view.run.tell("iteration", self.n_iter_, self.max_iter, loss=-self.bound_)
            if self.evaluate_every > 0 and self.n_iter_ % self.evaluate_every == 0:
                after = float(np.exp(-self.bound_))
                if before - after < self.perp_tol:
                    return
                before = after

    def _first_epoch(self, view: MatrixView, number: int) -> None:
        """Learn from some rows after the other, the later ones counting less."""
        dealt, rows, words = view.dealt(SLICES, number), view.rows, np.zeros(3)
        for step in range(SLICES):
            part, topics = replace(dealt, keep=np.arange(SLICES) == step), self._topics()
            sums, bound = part.reduce(lambda block, now=topics: self._learned_of(block, now))  # type: ignore[misc]
            if not bound[2]:
                continue
            share = (self.learning_offset + step) ** -self.learning_decay
            new = self.topic_word_prior_ + rows / bound[2] * (sums * topics.words).T
            self.components_ = (1 - share) * self.components_ + share * new
            self._learn_prior(bound, share)
            words += bound[:3]
        self.n_iter_, self.bound_ = 1, _per_word(words)
        view.run.tell("iteration", 1, self.max_iter, loss=-self.bound_)

    def _learned_of(self, block: Block, topics: Topics) -> tuple[np.ndarray, np.ndarray]:
        X = counts(block.X, type(self).__name__)
        sums, bound = topics.sums(X, shares := topics.shares(X))
        if not self._learns_prior:
            return sums, bound
        return sums, np.append(bound, expected_logs(shares).sum(axis=0))

    @property
    def _learns_prior(self) -> bool:
        return isinstance(self.doc_topic_prior, str)

    def _learn_prior(self, bound: np.ndarray, share: float = 1.0) -> None:
        """Let the prior of topics be as the documents of a pass have them, by this share."""
        if len(bound) > 3:
            before = np.broadcast_to(self.doc_topic_prior_, self.n_components_)
            learned = learned_prior(np.array(before), bound[3:], bound[2])
            self.doc_topic_prior_ = (1 - share) * before + share * learned

    def _step(self, view: MatrixView) -> None:
        """Learn from the documents of a part of a stream, which count less than those before."""
        topics = self._topics()
        sums, bound = view.reduce(lambda block: self._learned_of(block, topics))
        share = (self.learning_offset + self.n_batch_iter_) ** -self.learning_decay
        new = self.topic_word_prior_ + self.total_samples / bound[2] * (sums * topics.words).T
        self.components_ = (1 - share) * self.components_ + share * new
        self._learn_prior(bound, share)
        self.n_batch_iter_ += 1
        self.n_iter_, self.bound_ = 1, _per_word(bound)

    def partial_fit(self, X: Any, y: Any = None) -> Self:
        """Learn from the next part of a stream of documents, one step (Hoffman, Blei and Bach 2010).

        What it says weighs `(learning_offset + n_batch_iter_) ** -learning_decay`, as if all `total_samples`
        documents were like these.

        Parameters
        ----------
        X : documents, in any form that `fit` takes, with the same columns each time.
        y : ignored.

        Examples
        --------
        >>> import numpy as np, outgrow as og
        >>> model = og.LatentDirichletAllocation(2, random_state=0, total_samples=4)
        >>> parts = [[4, 3, 0, 0], [0, 0, 4, 6]], [[3, 5, 0, 0], [0, 1, 5, 3]]
        >>> for part in parts:
        ...     model = model.partial_fit(np.array(part))
        >>> model.n_batch_iter_, model.transform(np.array(parts[0])).argmax(axis=1).tolist()
        (3, [0, 1])
        """
        self.check_parameters()
        self._part_of_stream = True
        try:
            first = not hasattr(self, "components_")
            return self._fit_on_engine(open_training(self, X, y, None, reset=first))
        finally:
            self._part_of_stream = False

    def _worker(self) -> Self:
        made = super()._worker()
        made._part_of_stream = self._part_of_stream
        if self._part_of_stream and hasattr(self, "components_"):
            for name in _GOES_ON:
                setattr(made, name, getattr(self, name))
        return made

    def _topics(self) -> Topics:
        settle = self.max_doc_update_iter, self.mean_change_tol
        return Topics.of(self.components_, self.doc_topic_prior_, *settle)

    # ---- answer ------------------------------------------------------------------------------------------

    def _expanded(self, X: Any) -> np.ndarray:
        shares = self._fitted_topics().shares(counts(X, type(self).__name__))
        made: np.ndarray = shares / shares.sum(axis=1)[:, None]
        return made

    def _fitted_topics(self) -> Topics:
        settle = self.max_doc_update_iter, self.mean_change_tol
        return Topics.known(self.exp_dirichlet_component_, self.doc_topic_prior_, *settle)

    def score(self, X: Any, y: Any = None) -> float:
        """The bound of the log likelihood of a word in documents, with the topics as they are.

        It is the evidence lower bound of the documents' words and topics, divided by the number of words;
        the prior of the topics themselves does not come in.

        Parameters
        ----------
        X : documents, in any form that `fit` takes.
        y : ignored.
        """
        check_is_fitted(self)
        scan = (opened := open_training(self, X, None, None, reset=False)).dataset.scan
        topics, names, who = self._fitted_topics(), self.selected_, type(self).__name__

        def bound(shard: Shard) -> list[float]:
            def fold(batch: Any) -> np.ndarray:
                documents = counts(self._numbers(batch, names), who)
                return topics.sums(documents, topics.shares(documents), words=False)[1]

            found: list[float] = shard.reduce(fold).tolist()
            return found

        return _per_word(np.array(opened.dataset.engine.fit(bound, scan, stage="score", keep=False).result))

    def perplexity(self, X: Any) -> float:
        """The exponential of the negated `score`: the lower, the better.

        Parameters
        ----------
        X : documents, in any form that `fit` takes.
        """
        return float(np.exp(-self.score(X)))

    def topics(self, n_words: int = 10) -> pa.Table:
        """The words of which each topic has the most.

        Parameters
        ----------
        n_words : how many of each topic.

        Returns
        -------
        A table with the columns `topic`, `word` and `weight`, the share of the word in the topic; the first
        of a topic is the one with the largest.

        Examples
        --------
        >>> import pyarrow as pa, outgrow as og
        >>> words = pa.table({"ball": [4, 3, 0], "goal": [2, 3, 0], "vote": [0, 0, 5]})
        >>> og.LatentDirichletAllocation(2, random_state=0).fit(words).topics(1)["word"].to_pylist()
        ['ball', 'vote']
        """
        check_is_fitted(self)
        Integer(low=1).check(f"{type(self).__name__}.topics", "n_words", n_words)
        shares = self.components_ / self.components_.sum(axis=1)[:, None]
        order = np.argsort(-shares, axis=1, kind="stable")[:, :n_words]
        names = np.array(self.input_names_, dtype=object)
        return pa.table(
            {
                "topic": np.repeat(np.arange(len(order)), order.shape[1]),
                "word": pa.array(names[order].ravel().tolist(), pa.string()),
                "weight": np.take_along_axis(shares, order, axis=1).ravel(),
            }
        )

    def _to_sklearn(self, name: str, flow: Flow) -> Flow:
        if np.ndim(self.doc_topic_prior_):
            raise refusal(
                self,
                "its topics differ in their prior, and those of scikit-learn share one.",
                "Keep it with save(), or learn with one number for doc_topic_prior.",
            )
        settings = ("max_doc_update_iter", "mean_change_tol")  # scikit-learn takes no priors above 1
        made = twin(
            "decomposition.LatentDirichletAllocation",
            self.n_components_,
            max_iter=1,
            **{setting: getattr(self, setting) for setting in settings},
        )
        learned = (
            "components_",
            "exp_dirichlet_component_",
            "doc_topic_prior_",
            "topic_word_prior_",
            "n_iter_",
        )
        block = flow.block(self.selected_, name, made)
        made.fit(flow.tiny(block.labels, np.ones((2, len(block.labels)))))
        with_learned(made, self, *learned)
        block.makes = [(column, 1) for column in self.output_names_]
        return flow.then(name, flow.beside(self.selected_, [block]))


def _prior(given: Any, size: int, topics: int, name: str, of: str) -> Any:
    """A prior as it is kept: a number, or an array of one for each."""
    if given is None or np.ndim(given) == 0:
        return 1 / topics if given is None else float(given)
    prior = np.asarray(given, dtype=np.float64)
    if prior.shape != (size,) or not np.all((prior > 0) & np.isfinite(prior)):
        raise ParameterError(
            f"LatentDirichletAllocation({name}={given!r}): give a number above 0, or one for each of the "
            f"{size} {of}."
        )
    return prior


def _per_word(bound: np.ndarray) -> float:
    """A bound divided by the number of words; NaN where there are none."""
    return float(bound[0] / bound[1]) if bound[1] else float("nan")
