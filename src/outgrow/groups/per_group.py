"""One model for each key."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
import pyarrow as pa
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.utils import get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from outgrow.data.batch import Batch, is_numeric
from outgrow.data.keys import key_column, key_hash
from outgrow.data.scan import Apply, check_columns
from outgrow.data.schema import kinds_of
from outgrow.engine.dataset import Dataset
from outgrow.engine.events import Event, emit, heard
from outgrow.engine.groups import OnlyGroups
from outgrow.engine.matrix import check_numeric
from outgrow.engine.open import dataset as open_dataset
from outgrow.engine.shard import Shard
from outgrow.errors import DataError, ParameterError, SchemaError
from outgrow.groups import separate
from outgrow.groups.inner import inner_of, metric_names
from outgrow.groups.plan import (
    AUTO,
    GIANTS,
    LEAST_GIANT,
    PARALLEL,
    SAMPLE,
    TOGETHER,
    Counted,
    GroupPlan,
    count_groups,
    packing_of,
    plan_of,
)
from outgrow.groups.separate import FAILED, OK, TOO_FEW, FitGroups, Fits
from outgrow.groups.store import Models, RaggedModels, StackedModels, find
from outgrow.groups.summary import GroupSummary
from outgrow.ml import parameters as check
from outgrow.ml.base import Estimator, Model, Task
from outgrow.ml.foreign import check_loadable, is_foreign, is_own
from outgrow.ml.grouped import GroupForm, fit_groups, forms_of
from outgrow.ml.inputs import Training, open_training
from outgrow.ml.persistence import describe, restore
from outgrow.ml.predictor import Predictor
from outgrow.stats.state import from_tree, to_tree

GLOBAL, ERROR, NULL = "global", "error", "null"
_AT_ONCE, _ONE_BY_ONE = "at once", "one by one"
_UNUSABLE = (
    "A value of X or y in this group is missing or infinite, or all its weights are zero. "
    "Impute (SimpleImputer) or drop those rows."
)


def _inner_has(method: str) -> Callable[[Callable[..., Any]], Any]:
    return available_if(lambda self: hasattr(self.estimator, method))


class PerGroup(Model):
    """Fit one model for each key, and let the key of a row choose the model that answers for it.

    Estimators with a closed form over numeric features (`LinearRegression`, `Ridge`, `DummyRegressor`, and
    pipelines of them behind `SimpleImputer(strategy="mean")` and `StandardScaler`) are solved for all groups
    together, one pass for each step: no rows move, and a group that holds half of them is no more work than
    any other. All other estimators, scikit-learn's too, are fitted one group after the other: rows are
    gathered in bins of groups that are about equally large, and bins are worked on side by side.

    Parameters
    ----------
    estimator : an estimator or pipeline of outgrow or scikit-learn; it is not changed.
    by : the key columns. They are no features.
    min_rows : groups with fewer rows get no model.
    unseen : what rows get whose key has no model: 'error', 'null' for no prediction, or 'global' for that of
        a model of all rows, which is then fitted too.
    giants : what is done with groups of more than `giant_rows` rows where groups are fitted one by one:
        'parallel' trains each data-parallel, as an ordinary fit over its rows; 'sample' takes about
        `giant_rows` of them, chosen by their hashes; 'together' treats them as any other. 'auto' is
        'parallel' for estimators of outgrow and 'together' for others.
    giant_rows : by default what each of the calls that run at once has to do, and at least 100,000.
    checkpoint : folder for what was fitted one by one; a fit of the same that is called again with the same
        folder does only what is missing there. On Spark all executors must reach it.

    Attributes
    ----------
    groups_ : Arrow table, a row a group: the key, `rows`, `status` ('ok', 'failed' or 'too few rows'),
        `error`, the metrics on the rows learned from, and `seconds` (of groups that are solved together, an
        equal share).
    features_ : list of the columns the models learn from.
    classes_ : of classifiers, ndarray of the classes of all groups.

    Examples
    --------
    >>> import pyarrow as pa, outgrow as og
    >>> sales = pa.table({"shop": ["a", "a", "b", "b"], "price": [1.0, 2.0, 1.0, 2.0],
    ...                   "sold": [4.0, 3.0, 8.0, 6.0]})
    >>> model = og.PerGroup(og.LinearRegression(), by=["shop"]).fit(sales, "sold")
    >>> model.predict(pa.table({"shop": ["b", "a"], "price": [3.0, 3.0]}))["prediction"].to_pylist()
    [4.0, 2.0]
    """

    _models: Models

    def __init__(
        self,
        estimator: Any,
        by: Sequence[str],
        *,
        min_rows: int = 1,
        unseen: str = ERROR,
        giants: str = AUTO,
        giant_rows: int | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
    ) -> None:
        self.estimator = estimator
        self.by = by
        self.min_rows = min_rows
        self.unseen = unseen
        self.giants = giants
        self.giant_rows = giant_rows
        self.checkpoint = checkpoint

    # ---- learn -------------------------------------------------------------------------------------------

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Learn a model for each key.

        Parameters
        ----------
        X : dataset, Spark DataFrame, table, or array of shape (rows, columns), with the key columns.
        y : the name of a column of X, or an array of shape (rows,).
        sample_weight : the name of a column of X, or an array of shape (rows,).

        Raises
        ------
        DataError
            When no group could be fitted; `groups_` then says why.
        """
        self._check_parameters()
        data = open_training(self, X, y, sample_weight)
        task = self._task(data)
        rows = data.dataset.select([*self._keys, *task.columns, *data.beside])
        forms = self._forms(rows, task)
        if forms is not None:
            self._fit_at_once(rows, task, forms)
        else:
            self._fit_one_by_one(rows, task)
        if not len(self._models.hashes):
            self._refuse()
        self._global = self._fit_global(rows, task) if self.unseen == GLOBAL else None
        return self

    def plan(self, X: Any, y: str | None = None, sample_weight: str | None = None) -> GroupPlan:
        """What `fit` would do with these rows; reads the key columns alone.

        Examples
        --------
        >>> import pyarrow as pa, outgrow as og
        >>> rows = pa.table({"shop": ["a", "a", "b"], "price": [1.0, 2.0, 1.0]})
        >>> og.PerGroup(og.Ridge(), by=["shop"]).plan(rows)
        2 groups of 3 rows, fitted at once
        rows of a group: 1 to 2, median 1, 95 % have at most 2
        """
        self._check_parameters()
        rows = open_dataset(X)
        check_columns(rows.schema, self._keys)
        features = [name for name in rows.columns if name not in (*self._keys, y, sample_weight)]
        counted = count_groups(rows, self._keys, stage=self._stage)
        if forms_of(self.estimator, rows.scan.example(), features) is not None:
            return self._plan(counted, rows, _AT_ONCE, 0)
        return self._plan(counted, rows, _ONE_BY_ONE, self._packing(counted, rows).count)

    def _check_parameters(self) -> None:
        if not isinstance(self.estimator, BaseEstimator):
            raise ParameterError(
                f"PerGroup(estimator={self.estimator!r}): give an estimator or a pipeline of outgrow or "
                "scikit-learn."
            )
        keys = self._keys
        twice = sorted({name for name in keys if keys.count(name) > 1})
        if not keys or twice or not all(isinstance(name, str) for name in keys):
            raise ParameterError(f"PerGroup(by={self.by!r}): give the names of key columns, each once.")
        check.integer(self, "min_rows", low=1)
        check.integer(self, "giant_rows", low=1, none=True)
        check.one_of(self, "unseen", (ERROR, NULL, GLOBAL))
        check.one_of(self, "giants", GIANTS)
        ours = isinstance(self.estimator, Estimator)
        if self.giants == PARALLEL and not ours:
            raise ParameterError(
                f"PerGroup(giants={PARALLEL!r}): a {type(self.estimator).__name__} of scikit-learn cannot be "
                f"trained data-parallel. Choose {SAMPLE!r} or {TOGETHER!r}."
            )
        if ours:
            self.estimator._check_parameters()

    @property
    def _keys(self) -> tuple[str, ...]:
        return (self.by,) if isinstance(self.by, str) else tuple(self.by)

    @property
    def _stage(self) -> str:
        return f"fit PerGroup({type(self.estimator).__name__})"

    def _task(self, data: Training) -> Task:
        """The columns of this fit, checked; notes `features_`."""
        schema, keys = data.dataset.schema, self._keys
        check_columns(schema, keys)
        for what, name in (("y", data.target), ("sample_weight", data.weight)):
            if name in keys:
                raise ParameterError(f"{name!r} is given as {what} and as a key. It can be only one of them.")
        example = data.dataset.scan.example()
        for name in keys:
            key_column(example, name)
        self.features_ = [name for name in self.columns_ if name not in keys]
        if not self.features_:
            raise SchemaError(f"There are no feature columns beside the keys {list(keys)}.")
        if data.target is not None and not self._is_classifier and get_tags(self).target_tags.required:
            kind = schema.field(data.target).type
            if not is_numeric(kind):
                raise SchemaError(f"The target {data.target!r} has type {kind}; a regression needs numbers.")
        if data.weight is not None:
            check_numeric(example, [data.weight])
        return Task(data.target, data.weight, tuple(self.features_))

    def _forms(self, rows: Dataset, task: Task) -> Sequence[GroupForm] | None:
        if task.target is None:
            return None
        return forms_of(self.estimator, rows.scan.example(), self.features_)

    def _fit_at_once(self, rows: Dataset, task: Task, forms: Sequence[GroupForm]) -> None:
        began = time.perf_counter()
        estimator, keys, names = clone(self.estimator), self._keys, list(self.features_)

        def fit(shard: Shard) -> Any:
            found = fit_groups(estimator, forms, shard, keys, task, names)
            return {"keys": to_tree(found.keys), "rows": found.rows, "steps": found.stacked}

        fitted = rows.engine.fit(
            fit, rows.scan, stage=self._stage, keep=len(forms) > 1, identity=lambda: self._identity(task)
        )
        found, self.fit_record_ = fitted.result, fitted.record
        known = from_tree(found["keys"])
        counted = Counted(known.hashes, found["rows"].astype(np.int64), known.table)
        last = found["steps"][-1]
        learned = [array for name, array in last.items() if name.endswith("_")]
        usable = np.logical_and.reduce(
            [np.isfinite(array.reshape(len(array), -1)).all(axis=1) for array in learned]
        )
        errors = np.array([None if good else _UNUSABLE for good in usable], dtype=object)
        seconds = np.full(len(usable), (time.perf_counter() - began) / len(usable))
        metrics = {name: last[name] for name in metric_names(self.estimator)}
        good = self._note(counted, errors, metrics, seconds)
        steps = [
            {name: array[good] for name, array in step.items() if name.endswith("_")}
            for step in found["steps"]
        ]
        self._models = StackedModels.of(estimator, names, counted.hashes[good], steps)
        self._tell(self._plan(counted, rows, _AT_ONCE, 0))

    def _fit_one_by_one(self, rows: Dataset, task: Task) -> None:
        _refuse_vectors(rows)
        counted = count_groups(rows, self._keys, stage=self._stage)
        chosen, folder = self._chosen(counted), self._checkpoint(rows, task)
        fits = separate.kept(folder)
        done = find(np.sort(np.array(fits.hashes, dtype=np.uint64)), counted.hashes) >= 0
        giants = self._giants(counted, rows)
        parallel = giants & (self._fate == PARALLEL)
        packing = self._packing(counted, rows, chosen & ~parallel & ~done)
        self._tell(self._plan(counted, rows, _ONE_BY_ONE, packing.count))
        self._metrics = metric_names(self.estimator)
        inner = self._inner(trusted=True)
        job = FitGroups(inner, task, self._metrics, folder)
        total, began = int(chosen.sum()), time.perf_counter()
        if len(packing.hashes):
            found = rows.engine.map_groups(
                rows.scan, packing, job, stage=self._stage, processes=inner.holds_lock
            )
            for tree in found:
                fits.extend(Fits.from_tree(tree))
                self._progress(len(fits.hashes), total, began)
        for place in np.flatnonzero(parallel & chosen & ~done):
            self._fit_giant(rows, task, int(counted.hashes[place]), fits)
            self._progress(len(fits.hashes), total, began)
        self._gather(counted, fits)
        if folder is not None and all(error is None for error in fits.errors):
            separate.forget(folder)

    def _fit_giant(self, rows: Dataset, task: Task, hash: int, fits: Fits) -> None:
        """Fit a large group as all rows of a dataset are: data-parallel."""
        scan = rows.scan.then(Apply(OnlyGroups(self._keys, np.array([hash], dtype=np.uint64)), rows.schema))
        own = Dataset(scan, rows.engine).select([name for name in rows.columns if name not in self._keys])
        began, nothing = time.perf_counter(), [np.nan] * len(self._metrics)
        model = clone(self.estimator)
        try:
            model.fit(own, task.target, *([] if task.weight is None else [task.weight]))
            scores = model.evaluate(own, task.target, task.weight) if self._metrics else {}
            values = [scores[name] for name in self._metrics]
            payload = self._inner(trusted=True).dump(model)
        except Exception as error:  # a group's failure is its own
            fits.add(hash, f"{type(error).__name__}: {error}", nothing, time.perf_counter() - began)
            return
        if hasattr(model, "classes_"):
            fits.see(model.classes_)
        fits.add(hash, None, values, time.perf_counter() - began, payload)

    def _gather(self, counted: Counted, fits: Fits) -> None:
        """Put what was fitted in the order of the groups."""
        place = np.searchsorted(counted.hashes, np.array(fits.hashes, dtype=np.uint64))
        errors = np.full(len(counted.hashes), None, dtype=object)
        metrics = np.full((len(counted.hashes), len(self._metrics)), np.nan)
        seconds = np.zeros(len(counted.hashes))
        errors[place] = fits.errors
        seconds[place] = fits.seconds
        if self._metrics and len(place):
            metrics[place] = fits.metrics
        named = {name: metrics[:, column] for column, name in enumerate(self._metrics)}
        good = self._note(counted, errors, named, seconds)
        payloads = dict(zip(place.tolist(), fits.payloads, strict=True))
        ordered = [payloads[group] for group in np.flatnonzero(good).tolist()]
        offsets = np.concatenate([[0], np.cumsum([len(each) for each in ordered])]).astype(np.int64)
        if fits.classes:
            self.classes_ = np.unique(np.array(fits.classes))
        payload = np.frombuffer(b"".join(ordered), dtype=np.uint8)
        self._models = self._ragged(counted.hashes[good], offsets, payload, trusted=True)

    def _note(self, counted: Counted, errors: np.ndarray, metrics: dict[str, np.ndarray],
              seconds: np.ndarray) -> np.ndarray:  # fmt: skip
        """Make `groups_`; which groups have a model."""
        few, nulls = counted.rows < self.min_rows, counted.nulls
        failed = np.array([error is not None for error in errors], dtype=bool) | nulls
        status = np.where(few, TOO_FEW, np.where(failed, FAILED, OK))
        said = errors.astype(object)
        said[nulls] = f"The key is null. Fill {list(self._keys)} to have a model for these rows."
        said[few] = None
        good: np.ndarray = status == OK
        columns: dict[str, Any] = {name: counted.keys[name] for name in self._keys}
        columns |= {"rows": counted.rows, "status": status.tolist(), "error": pa.array(said, pa.string())}
        columns |= {name: pa.array(values, from_pandas=True, mask=~good) for name, values in metrics.items()}
        columns["seconds"] = seconds
        self.groups_ = pa.table(columns).sort_by([(name, "ascending") for name in self._keys])
        return good

    def _refuse(self) -> None:
        told = [error for error in self.groups_["error"].to_pylist() if error is not None]
        why = f"The first says: {told[0]}" if told else f"All have fewer than min_rows={self.min_rows} rows."
        raise DataError(f"None of the {self.groups_.num_rows:,} groups could be fitted. {why}")

    def _fit_global(self, rows: Dataset, task: Task) -> Any:
        """A model of all rows."""
        wanted = [name for name in (*task.columns, task.target, task.weight) if name is not None]
        everything = rows.select(wanted)
        model = clone(self.estimator)
        if isinstance(model, Estimator):
            given = [] if task.weight is None else [task.weight]
            return model.fit(everything, task.target, *given)
        together = everything.to_arrow().combine_chunks().to_batches()[0]
        return self._inner(trusted=True).fit(Batch.from_arrow(together), task)

    # ---- how -----------------------------------------------------------------------------------------------

    @property
    def _fate(self) -> str:
        """What happens to giants."""
        if self.giants != AUTO:
            return self.giants
        return PARALLEL if isinstance(self.estimator, Estimator) else TOGETHER

    def _giant_rows(self, counted: Counted, rows: Dataset) -> int:
        return self.giant_rows or max(LEAST_GIANT, int(counted.rows.sum()) // rows.engine.slots)

    def _giants(self, counted: Counted, rows: Dataset) -> np.ndarray:
        return counted.rows > self._giant_rows(counted, rows)

    def _chosen(self, counted: Counted) -> np.ndarray:
        """The groups that get a model."""
        return (counted.rows >= self.min_rows) & ~counted.nulls

    def _packing(self, counted: Counted, rows: Dataset, chosen: np.ndarray | None = None) -> Any:
        if chosen is None:
            chosen = self._chosen(counted)
            if self._fate == PARALLEL:
                chosen &= ~self._giants(counted, rows)
        most = self._giant_rows(counted, rows) if self._fate == SAMPLE else None
        return packing_of(
            self._keys, counted, chosen, slots=rows.engine.slots, row_bytes=8 * len(rows.columns), most=most
        )

    def _plan(self, counted: Counted, rows: Dataset, way: str, bins: int) -> GroupPlan:
        giants = self._giants(counted, rows) if way == _ONE_BY_ONE else np.zeros(len(counted.rows), bool)
        return plan_of(
            counted, way, min_rows=self.min_rows, bins=bins, giants=giants, giants_are=self._fate,
            giant_rows=self._giant_rows(counted, rows),
        )  # fmt: skip

    def _tell(self, plan: GroupPlan) -> None:
        if heard():
            emit(Event(self._stage, "plan", 0, note=str(plan)))

    def _progress(self, done: int, total: int, began: float) -> None:
        if heard():
            emit(Event(self._stage, "group", done, total, elapsed=time.perf_counter() - began))

    def _checkpoint(self, rows: Dataset, task: Task) -> str | None:
        if self.checkpoint is None:
            return None
        ours = isinstance(self.estimator, Estimator)
        what = describe(clone(self.estimator)) if ours else repr(self.estimator.get_params())
        identity = [type(self.estimator).__qualname__, what, list(self._keys), repr(task), self._fate,
                    self.giant_rows, rows.scan.describe()["sha256"]]  # fmt: skip
        return separate.checkpoint_folder(self.checkpoint, identity)

    def _inner(self, *, trusted: bool) -> Any:
        return inner_of(
            self.estimator, {name: self.columns_[name] for name in self.features_}, trusted=trusted
        )

    def _ragged(self, hashes: np.ndarray, offsets: np.ndarray, payload: np.ndarray, *,
                trusted: bool) -> RaggedModels:  # fmt: skip
        return RaggedModels(
            hashes, offsets, payload, self._inner(trusted=trusted), getattr(self, "classes_", None)
        )

    # ---- answer --------------------------------------------------------------------------------------------

    @_inner_has("predict")
    def predict(self, X: Any) -> Any:
        """What the model of each row's key predicts: an array, or for lazy tables a column `prediction`."""
        return self._respond(X, "predict")

    @_inner_has("predict_proba")
    def predict_proba(self, X: Any) -> Any:
        """Probabilities of the classes of all groups; those that a group has not seen are 0 there."""
        return self._respond(X, "predict_proba")

    @_inner_has("predict")
    def evaluate(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """The metrics of all predictions together; see `evaluate_groups` for those of each group.

        With unseen='null', rows whose key has no model are left out.
        """
        from outgrow.ml.evaluation import evaluate

        if self.unseen != NULL:
            return evaluate(self, X, y, sample_weight)
        check_is_fitted(self)
        data = open_training(self, X, y, sample_weight, reset=False)
        known = Apply(OnlyGroups(self._keys, self._models.hashes), data.dataset.schema)
        return evaluate(
            self, Dataset(data.dataset.scan.then(known), data.dataset.engine), data.target, data.weight
        )

    @_inner_has("predict")
    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy of a classifier, R2 of a regressor."""
        return float(self.evaluate(X, y, sample_weight)["accuracy" if self._is_classifier else "r2"])

    @_inner_has("predict")
    def evaluate_groups(self, X: Any, y: Any, sample_weight: Any = None) -> pa.Table:
        """The metrics of each group on rows with known y, as a table; rows without a prediction are left out.

        For regressors `rmse`, `mae` and `r2`, for classifiers `accuracy`.
        """
        from outgrow.groups.scores import score_groups

        check_is_fitted(self)
        return score_groups(self, open_training(self, X, y, sample_weight, reset=False))

    @_inner_has("predict")
    def backtest(self, X: Any, y: Any, *, time: str, folds: int = 3, test: float = 0.5) -> Any:
        """Fit on what was known at several moments, and score what came next.

        Parameters
        ----------
        X, y : as for `fit`.
        time : the column that orders the rows. It is no feature here.
        folds : how many moments.
        test : the share of the rows, the latest ones, that is predicted; the folds share it.

        Returns
        -------
        Backtest, whose `groups` is a table with the metrics of each group in each fold.
        """
        from outgrow.groups.backtest import backtest

        return backtest(self, X, y, time=time, folds=folds, test=test)

    def model_of(self, *key: Any) -> Any:
        """The fitted estimator of one key.

        Raises
        ------
        DataError
            When the key has no model.
        """
        check_is_fitted(self)
        if len(key) != len(self._keys):
            raise ParameterError(f"A key has the parts {list(self._keys)}; {list(key)} was given.")
        arrays = {name: pa.array([part]) for name, part in zip(self._keys, key, strict=True)}
        (place,) = find(self._models.hashes, key_hash(Batch(arrays, 1), self._keys))
        if place < 0:
            raise DataError(f"There is no model for the key {list(key)}. See groups_ for those there are.")
        return self._models.model(int(place))

    def summary(self) -> GroupSummary:
        """What became of the groups, to be printed."""
        check_is_fitted(self)
        return GroupSummary(self.groups_, self._keys)

    def report(self, path: str | os.PathLike[str], *, backtest: Any = None, overwrite: bool = False) -> None:
        """Write a page about the groups: the metric over them, the worst twenty, and what failed.

        Parameters
        ----------
        backtest : what `backtest` gave; its metrics on rows that were not learned from are then shown.
        """
        from outgrow.groups.report import write_report

        check_is_fitted(self)
        write_report(self, path, backtest, overwrite=overwrite)

    def _answer(self, method: str, batch: Batch) -> np.ndarray:
        hashes = key_hash(batch, self._keys)
        place = find(self._models.hashes, hashes)
        known, features = place >= 0, batch.select(self.features_)
        if known.all():
            return self._shaped(self._models.answer(method, features, place))
        if self.unseen == ERROR:
            raise DataError(self._unseen_message(batch.filter(~known)))
        answers = self._shaped(self._models.answer(method, features.filter(known), place[known]))
        others = features.filter(~known)
        if self.unseen == NULL:
            extra: Any = np.full(
                (others.num_rows, *answers.shape[1:]), None if answers.dtype == object else np.nan
            )
        else:
            extra = self._shaped(self._answer_global(method, others))
        kind = object if object in (answers.dtype, extra.dtype) else np.result_type(answers, extra)
        out = np.empty((batch.num_rows, *answers.shape[1:]), dtype=kind)
        out[known], out[~known] = answers, extra
        return out

    def _answer_global(self, method: str, batch: Batch) -> np.ndarray:
        if isinstance(self._global, Estimator):
            found = Predictor(self._global).answer(batch, method)
        else:
            found = self._inner(trusted=True).answer(self._global, batch, method)
        if found.ndim == 2:
            model: Any = getattr(self._global, "model", self._global)
            wide = np.zeros((len(found), len(self.classes_)))
            wide[:, np.searchsorted(self.classes_, model.classes_)] = found
            return wide
        return found

    def _shaped(self, answers: np.ndarray) -> np.ndarray:
        """Predicted classes in a type that has room for none, where rows may get none."""
        if self.unseen != NULL or answers.ndim == 2:
            return answers
        return answers.astype(object if answers.dtype.kind in "OU" else np.float64)

    def _unseen_message(self, batch: Batch) -> str:
        rows = batch.select(self._keys).to_arrow().to_pylist()
        known = list(dict.fromkeys(tuple(row.values()) for row in rows))
        shown = ", ".join(" / ".join(map(str, key)) for key in known[:5])
        more = f" and {len(known) - 5} more" if len(known) > 5 else ""
        return (
            f"{len(rows)} row(s) have a key without a model: {shown}{more} (of {list(self._keys)}). "
            "Fit with unseen='global' or unseen='null' to answer for such rows, or see groups_ for why a "
            "group has none."
        )

    def _answer_names(self, method: str) -> list[str]:
        if method == "predict_proba":
            return [f"probability_{label}" for label in self.classes_]
        return super()._answer_names(method)

    # ---- save ----------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the models of all groups as one directory, whole or not at all; see `Estimator.save`.

        Raises
        ------
        ArtifactError
            When the models are of scikit-learn, and hold objects that skops does not know to be harmless.
        """
        check_is_fitted(self)
        if isinstance(self._models, RaggedModels) and is_foreign(self.estimator):
            check_loadable(self._models.first())
        super().save(path, overwrite=overwrite)

    def _learned(self) -> dict[str, Any]:
        names = ("columns_", "n_features_in_", "feature_names_in_", "features_", "classes_")
        learned = {name: getattr(self, name) for name in names if hasattr(self, name)}
        if not hasattr(self, "groups_"):
            return learned
        return {
            **learned, "groups_": _to_stream(self.groups_), "models_": self._models.to_tree(),
            "global_": self._dumped_global(),
        }  # fmt: skip

    def _dumped_global(self) -> Any:
        if self._global is None or isinstance(self._global, Estimator):
            return self._global if self._global is None else describe(self._global)
        return self._inner(trusted=True).dump(self._global)

    def _restore(self, learned: dict[str, Any]) -> None:
        plain = dict(learned)
        groups, models, whole = (plain.pop(name) for name in ("groups_", "models_", "global_"))
        super()._restore(plain)
        self.groups_ = pa.ipc.open_stream(groups).read_all()
        if "steps" in models:
            self._models = StackedModels.of(self.estimator, self.features_, models["hashes"], models["steps"])
        else:
            self._models = self._ragged(
                models["hashes"], models["offsets"], models["payload"], trusted=is_own()
            )
        if isinstance(whole, dict):
            self._global = restore(whole)
        else:
            self._global = None if whole is None else self._inner(trusted=is_own()).load(whole)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "groups_")

    @property
    def _is_classifier(self) -> bool:
        return is_classifier(self.estimator)

    def __sklearn_tags__(self) -> Any:
        tags, inner = super().__sklearn_tags__(), get_tags(self.estimator)
        tags.estimator_type = inner.estimator_type
        tags.target_tags = inner.target_tags
        tags.classifier_tags, tags.regressor_tags = inner.classifier_tags, inner.regressor_tags
        tags.input_tags.allow_nan = inner.input_tags.allow_nan
        tags.input_tags.sparse = False
        return tags


def _refuse_vectors(rows: Dataset) -> None:
    vectors = [
        name for name, kind in kinds_of(rows.schema).items() if kind.startswith(("vector", "fixed_size"))
    ]
    if vectors:
        raise SchemaError(
            f"Columns {vectors} hold vectors. Give each number a column of its own for PerGroup."
        )


def _to_stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()
