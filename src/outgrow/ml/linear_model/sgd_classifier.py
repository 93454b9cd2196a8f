"""Linear classification by a choice of losses and penalties."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
from scipy.special import expit
from sklearn.utils.metaestimators import available_if

from outgrow.engine.folded import FoldedView
from outgrow.engine.matrix import MatrixView
from outgrow.errors import ParameterError
from outgrow.ml.base import MarginClassifier
from outgrow.ml.base.known_classes import given_classes, places_among
from outgrow.ml.core.candidates import Candidate, usable
from outgrow.ml.core.parameters import CLASS_WEIGHT, OneOf, Unused
from outgrow.ml.core.scoring import MARGINS, PROBABILITIES, Scoring
from outgrow.ml.core.weights import ClassWeight, class_factors
from outgrow.ml.export.onnx.answer import Answer, chosen
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.export.sklearn.twin import twin, with_learned
from outgrow.ml.linear_model.against_others import AgainstOthers
from outgrow.ml.linear_model.batch_steps import LearnsOn, Standing
from outgrow.ml.linear_model.classifier import normalised, normalised_in_onnx
from outgrow.ml.linear_model.stochastic import PARAMETERS, TOLD, strength, warn_unfinished
from outgrow.ml.solvers.losses import Logistic, Loss, ModifiedHuber, SquaredHinge

_HINGES = ("hinge", "squared_hinge")
_has_probabilities = available_if(lambda model: model.loss in ("log_loss", "modified_huber"))


class SGDClassifier(LearnsOn, AgainstOthers, MarginClassifier):
    """Minimise the mean loss of the rows plus alpha times a penalty of the coefficients.

    The objective is that which scikit-learn's class approaches by stochastic gradient descent. Here `fit`
    finds its minimum, by Newton's method on the rows where the loss bends, a handful of passes whatever the
    scale of the columns; where there are too many columns for that, by L-BFGS. So it needs no learning rate,
    and no order of rows. `partial_fit` learns on from batches of a stream, by steps of stochastic gradient
    descent (Bottou 2012). Of several classes each is told from all others.

    Parameters
    ----------
    loss : 'log_loss', logistic regression; 'hinge' and 'squared_hinge', support vector machines;
        'modified_huber', the latter but a line far on the wrong side, so that outliers count less (Zhang
        2004). The first and the last have `predict_proba`. `fit` of the hinge takes penalty='l2' and up to
        512 features, as `LinearSVC` does.
    penalty : 'l2', half the squared coefficients; 'l1', the absolute ones; 'elasticnet', both; None.
    alpha : strength of the penalty.
    l1_ratio : share of the absolute penalty, in [0, 1], for 'elasticnet'.
    fit_intercept : learn constants, which are not penalised.
    max_iter : most passes of Newton's method, or steps of L-BFGS.
    tol : share of the objective; it ends with the step that is expected to leave no more to gain.
    class_weight : weight of each class, 'balanced' for the inverse of its frequency, None for 1. Of several
        classes, it weighs the rows of the class that is told from the others.
    learning_rate : of `partial_fit`, at its step t: 'optimal', 1 / (alpha (t + t0)), where coefficients of
        the size that alpha suggests take steps of that size at first; 'invscaling', eta0 / t ** power_t;
        'constant' and 'adaptive', eta0.
    eta0, power_t : see `learning_rate`.
    average : of `partial_fit`, whether `coef_` is the mean over its steps, or from which step on (Xu 2011).
    shuffle : of `partial_fit`, take the rows of a batch in the order of their hashes, so that any engine and
        partitioning take the same; False for the order in which they come, of tables and arrays.
    random_state : another one is another order of hashes.
    early_stopping : must be False for `partial_fit`; without effect on `fit`.
    verbose, epsilon, n_jobs, validation_fraction, n_iter_no_change, warm_start : accepted as scikit-learn
        has them, without effect.

    Attributes
    ----------
    classes_ : ndarray of the classes, sorted.
    coef_ : ndarray of shape (1, n_features), or (n_classes, n_features) for more than two classes; float32
        where X was an array of float32.
    intercept_ : ndarray of shape (1,) or (n_classes,).
    n_iter_ : steps over all rows, of the class that took most; 1 after `partial_fit`.
    t_ : how many rows it has learned from, and one.
    standard_coef_, standard_intercept_ : after `partial_fit` with `average`, where its last step has led.

    Notes
    -----
    Steps go on from what `fit` found, too, as short as if its rows had come one by one. Scale the columns
    before them, as with `StandardScaler`: steps are as long in all directions.

    Unlike scikit-learn: `fit` gives the minimum itself, so that `learning_rate` and `early_stopping` change
    nothing there and a model that was held back by too few epochs wants a larger `alpha`; 'log_loss' is the
    default; 'perceptron' and the losses of numbers are refused; the mean is weighted, so that a row of weight
    2 counts as two rows; `partial_fit` leaves out rows of weight 0, learns from sparse rows what it does from
    dense ones, where the intercept takes short steps there, and with `average` goes on from the last
    intercept, not from an older one; 'pa1' and 'pa2' are refused.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    >>> y = np.array(["no", "no", "yes", "yes"])
    >>> model = og.SGDClassifier("modified_huber", alpha=0.1).fit(X, y)
    >>> model.predict(X).tolist(), model.predict_proba(X)[:, 1].round(3).tolist()
    (['no', 'no', 'yes', 'yes'], [0.0, 0.045, 0.955, 1.0])
    >>> stream = og.SGDClassifier(alpha=0.1).partial_fit(X[:2], y[:2], classes=["no", "yes"])
    >>> stream.partial_fit(X[2:], y[2:]).predict(X).tolist()
    ['no', 'no', 'yes', 'yes']
    """

    _follows_type = ("coef_",)
    shared_fit_parameters = ("alpha", "l1_ratio", "penalty")
    parameters = {
        **PARAMETERS,
        "loss": OneOf(
            "log_loss",
            "hinge",
            "squared_hinge",
            "modified_huber",
            advice="Coefficients of zero minimise the perceptron's loss: take 'hinge' instead. For the "
            "losses of numbers there is SGDRegressor.",
        ),
        "epsilon": Unused(),
        "n_jobs": Unused(),
        "class_weight": CLASS_WEIGHT,
    }

    def __init__(
        self,
        loss: str = "log_loss",
        *,
        penalty: str | None = "l2",
        alpha: float = 0.0001,
        l1_ratio: float = 0.15,
        fit_intercept: bool = True,
        max_iter: int = 1000,
        tol: float = 1e-12,
        shuffle: bool = True,
        verbose: int = 0,
        epsilon: float = 0.1,
        n_jobs: int | None = None,
        random_state: Any = None,
        learning_rate: str = "optimal",
        eta0: float = 0.01,
        power_t: float = 0.5,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
        class_weight: ClassWeight = None,
        warm_start: bool = False,
        average: bool | int = False,
    ) -> None:
        self.loss = loss
        self.penalty = penalty
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.max_iter = max_iter
        self.tol = tol
        self.shuffle = shuffle
        self.verbose = verbose
        self.epsilon = epsilon
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.learning_rate = learning_rate
        self.eta0 = eta0
        self.power_t = power_t
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.class_weight = class_weight
        self.warm_start = warm_start
        self.average = average

    @property
    def _scoring(self) -> Scoring:  # type: ignore[override]
        """By probabilities where there are any, else by margins."""
        return MARGINS if self.loss in _HINGES else PROBABILITIES

    # ---- learn -------------------------------------------------------------------------------------------

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Take a step for each row of a batch, one after the other: what results depends on their order.

        Parameters
        ----------
        X, y : as `fit` takes them; the batch is held in memory.
        classes : all there will be, at the first call; later ones need not give them again.
        sample_weight : as `fit` takes it; steps are so much longer.

        Raises
        ------
        ParameterError
            When the first call has no classes, or a later one has others; when parameters do not go with
            steps.
        DataError
            When y has a class that is not among them, or the steps go beyond all numbers.
        """
        self.check_parameters()
        if self.class_weight == "balanced":
            raise ParameterError(
                "class_weight 'balanced' is not supported for partial_fit, which does not know how many rows "
                "of each class will come. Give a dictionary of the weight of each class."
            )
        known = given_classes(classes, getattr(self, "classes_", None))
        if len(known) < 2:
            raise ParameterError(
                f"classes={known.tolist()}: the number of classes has to be greater than one. Name all there "
                "will be."
            )
        return self._learn_batch(X, y, sample_weight, known)

    def _fit(self, view: MatrixView) -> None:
        if self._before is not None:
            assert self._before.classes is not None
            self.classes_ = self._before.classes
            self._take_steps(view, self._before)
            return
        super()._fit(view)
        self.t_ = 1.0 + view.rows

    @classmethod
    def _fit_many(cls, rows: FoldedView, candidates: Sequence[Candidate]) -> None:
        super()._fit_many(rows, candidates)
        for candidate in usable(rows, candidates):
            candidate.model.t_ = 1.0 + float(rows.counts[candidate.fold])

    def _targets(self, view: MatrixView, standing: Standing, y: np.ndarray) -> list[tuple[np.ndarray, Any]]:
        """Whether rows are of each class, or of the second of two, as 1 or -1, and the factors of these."""
        classes = standing.classes
        assert classes is not None
        codes = places_among(classes, view.classes)[y.astype(np.intp)]
        weights = class_factors(self.class_weight, classes, np.zeros(len(classes)))
        factors = np.ones(len(classes)) if weights is None else weights
        if len(classes) == 2:
            return [(np.where(codes == 1, 1.0, -1.0), factors[codes])]
        return [
            (np.where(codes == k, 1.0, -1.0), np.where(codes == k, factors[k], 1.0))
            for k in range(len(classes))
        ]

    @property
    def _kinked(self) -> bool:
        return self.loss == "hinge"

    def _loss(self) -> Loss:
        made: dict[str, Loss] = {
            "log_loss": Logistic(),
            "squared_hinge": SquaredHinge(),
            "modified_huber": ModifiedHuber(),
        }
        return made[self.loss]

    def _bend(self) -> float:
        return 0.25 if self.loss == "log_loss" else 2.0

    def _strength(self, total: float) -> tuple[float, float]:
        return strength(self, total)

    def _warn(self) -> None:
        warn_unfinished(self)

    # ---- answer ------------------------------------------------------------------------------------------

    @_has_probabilities  # type: ignore[untyped-decorator]
    def _predict_proba(self, X: Any) -> np.ndarray:
        margins = self._decision_function(X)
        if self.loss == "modified_huber":
            ones = (np.clip(margins, -1, 1) + 1) / 2
        elif margins.ndim == 1:  # neither of two probabilities may lose its digits
            return np.column_stack([expit(-margins), expit(margins)])
        else:
            ones = expit(margins)
        return normalised(ones[:, None] if ones.ndim == 1 else ones)

    @_has_probabilities  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> Any:
        """Probabilities of shape (rows, classes); for lazy tables columns `probability_<class>`.

        Of several classes, those of each against the others, normalised. With loss='modified_huber' they
        reach 0 and 1. There are none with 'hinge' and 'squared_hinge'.
        """
        return self._respond(X, "predict_proba")

    @_has_probabilities  # type: ignore[untyped-decorator]
    def _predict_log_proba(self, X: Any) -> np.ndarray:
        with np.errstate(divide="ignore"):
            return np.log(self._predict_proba(X))

    @_has_probabilities  # type: ignore[untyped-decorator]
    def predict_log_proba(self, X: Any) -> Any:
        """Logarithms of the probabilities; for lazy tables columns `log_probability_<class>`."""
        return self._respond(X, "predict_log_proba")

    # ---- export ------------------------------------------------------------------------------------------

    def _to_onnx(self, table: Table) -> Answer:
        graph, margins = table.graph, self._margins_in_onnx(table)
        answer = replace(chosen(graph, margins, self.classes_), probabilities=None)
        if self.loss in _HINGES:
            return replace(answer, margins=margins)
        one = graph.constant(1.0)
        if self.loss == "modified_huber":
            short = graph.node("Max", graph.node("Min", margins, one), graph.constant(-1.0))
            ones = graph.node("Mul", graph.node("Add", short, one), graph.constant(0.5))
        else:  # onnxruntime's Sigmoid loses the digits of small probabilities
            odds = graph.node("Exp", graph.node("Neg", margins))
            ones = graph.node("Reciprocal", graph.node("Add", odds, one))
        count = len(self.classes_)
        shares = ones if count == 2 else normalised_in_onnx(graph, ones, count)
        return replace(answer, probabilities=shares)

    def _sklearn_model(self) -> Any:
        shared = (*TOLD, "class_weight")
        made = twin("linear_model.SGDClassifier", **{name: getattr(self, name) for name in shared})
        return with_learned(made, self, "coef_", "intercept_", "classes_", "n_iter_")
