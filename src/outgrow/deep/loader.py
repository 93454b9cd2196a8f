"""Batches of tensors from rows on disk, in an order that is the same however many processes share it."""

from __future__ import annotations

import hashlib
import importlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal, TypeAlias

import numpy as np

from outgrow._optional import optional
from outgrow._settings import is_whole
from outgrow.data.batch import Batch
from outgrow.data.scan import Step, run_steps
from outgrow.deep.buffers import Buffer, BufferReader
from outgrow.deep.choice import fields_of
from outgrow.deep.fields import Field, Part, plain_numbers
from outgrow.deep.images import decoders
from outgrow.deep.loader_settings import check_device, check_settings
from outgrow.deep.order import BUFFER_ROWS_LIMIT, RUNS, Order
from outgrow.deep.plan import plan_of
from outgrow.deep.ranks import rank_and_ranks
from outgrow.deep.timing import Timing
from outgrow.engine.dataset import Dataset
from outgrow.engine.local import Local
from outgrow.engine.open import dataset
from outgrow.engine.reading import read
from outgrow.errors import DataError, MissingExtraError, ParameterError

Arrays: TypeAlias = dict[str, Any]

BUFFER_BYTES = 128 << 20
"""Of the rows of a buffer, where the user does not say how many."""
_LEAST_BATCHES = 64


class Loader:
    """Rows as batches of tensors, for a training loop: exact, resumable, the same for any number of ranks.

    Every row comes once an epoch; nothing is padded and nothing dropped. The batches of an epoch follow from
    the rows, `batch_size`, `buffer_size`, `seed` and the number of the epoch alone. With several ranks, each
    gets its share of the same batches; shares differ by one row at most. The last two batches of an epoch
    share the rows that are left, so no batch has fewer than half of `batch_size`.

    Threads read a few buffers ahead. A shuffled epoch takes the pieces of the data (row groups, files) in a
    random order and mixes the rows of a buffer, so rows that are sorted by something should be stored in many
    pieces, or `buffer_size` be large.

    Parameters
    ----------
    data : a dataset, or what makes one: a path or several, a table, a DataFrame of pandas, Polars or Spark,
        an array. Rows that cannot be read in pieces, such as those of a Spark DataFrame, are cached first
        (`Dataset.cache`).
    batch_size : rows of a batch, over all ranks.
    columns : which columns: names, a selector such as `og.numeric()`, or by field the name of one column, or
        several or a selector, which become one tensor of shape (rows, columns); by default each is a field.
    dtype : of all fields of numbers, or by field. By default fractions and columns side by side are float32,
        whole numbers int64. A value that a dtype cannot hold is an error.
    shuffle : whether the order is random, another one in each epoch.
    seed : of that order.
    buffer_size : rows that are mixed with each other, and read at a time; by default so many as take 128 MiB,
        at least 64 batches.
    drop_last : leave out the rows that make no whole batch, for loops that need one shape.
    format : 'torch' for tensors, 'numpy' for arrays. Texts and bytes come as lists, or as arrays of objects.
    images : by field of encoded images their height and width, or a `DecodeImage`: they come as pixels, uint8
        of shape (rows, height, width, channels). It needs the extra `images`.
    transform : changes a batch, in threads, before it is handed out: a function from a dict of arrays to such
        a dict, or a fitted transformer or pipeline of outgrow; `columns` then are those it makes.
    rank, ranks : which process this is, of how many; by default what torch.distributed, torchrun or MPI say
        when an epoch begins.
    threads : that read; by default as many as cores.
    device : where tensors of PyTorch go, such as 'cuda'.
    pin_memory : whether tensors lie in memory that a GPU can read by itself.

    Attributes
    ----------
    epoch : the number of the epoch that is read, or of the next one.
    set_aside : images that could not be decoded and were left blank, with the reason.
    timing : where the time of the last epoch went; printed, a line that names the bottleneck.

    Raises
    ------
    ParameterError
        When a parameter has a value that it cannot have.
    DataError
        When there are no rows, or fewer than ranks.

    Notes
    -----
    Unlike PyTorch's `DataLoader`: no worker processes, no sampler, and a `state_dict`. Each `iter` begins the
    epoch anew, or goes on where a loaded state stopped; an epoch that was read to its end is followed by the
    next one.
    Unlike `DistributedSampler`: nothing is repeated to make ranks equal.

    Examples
    --------
    >>> import pyarrow as pa, outgrow as og
    >>> rows = pa.table({"a": [1.0, 2.0, 3.0, 4.0], "b": [5.0, 6.0, 7.0, 8.0], "late": [0, 1, 1, 0]})
    >>> loader = og.Loader(rows, batch_size=2, columns={"x": ["a", "b"], "y": "late"}, format="numpy")
    >>> for batch in loader:
    ...     print(batch["x"].tolist(), batch["y"].tolist())
    [[1.0, 5.0], [2.0, 6.0]] [0, 1]
    [[3.0, 7.0], [4.0, 8.0]] [1, 0]
    """

    def __init__(
        self,
        data: Any,
        *,
        batch_size: int,
        columns: Any = None,
        dtype: Any = None,
        shuffle: bool = False,
        seed: int = 0,
        buffer_size: int | None = None,
        drop_last: bool = False,
        format: Literal["torch", "numpy"] = "torch",
        images: Mapping[str, Any] | None = None,
        transform: Any = None,
        rank: int | None = None,
        ranks: int | None = None,
        threads: int | None = None,
        device: Any = None,
        pin_memory: bool = False,
    ) -> None:
        flags = {"shuffle": shuffle, "drop_last": drop_last, "pin_memory": pin_memory}
        check_settings(batch_size, buffer_size, seed, format, device, **flags)
        self.batch_size = int(batch_size)
        self._said = rank, ranks
        self.rank, self.ranks = rank_and_ranks(rank, ranks)
        self._threads = Local(threads=threads).slots
        self._torch = optional("torch", "torch") if format == "torch" else None
        if self._torch is not None:
            check_device(device, pin_memory)
        self._device, self._pin = device, pin_memory
        self._pinned = _pinned(device) if pin_memory else None
        rows = opened(data)
        self._function: Callable[[Arrays], Arrays] | None = None
        self._late: tuple[Step, ...] = ()
        after = rows
        if hasattr(transform, "transform"):
            after = transform.transform(rows)
            self._late = after.scan.steps[len(rows.scan.steps) :]
        elif callable(transform):
            self._function = transform
        elif transform is not None:
            raise ParameterError(
                f"transform={transform!r}: give a function from a dict of arrays to such a dict, or a fitted "
                "transformer or pipeline."
            )
        self.fields = fields_of(after.scan, columns, dtype)
        self._decoders = _decoders(images, self.fields)
        self.set_aside: list[str] = []
        self._plan_reading(rows, buffer_size, shuffle, seed, drop_last)
        self.epoch = 0
        self.timing = Timing(self._threads)
        self._step = 0
        self._resumes = False

    def _plan_reading(
        self, rows: Dataset, buffer_size: int | None, shuffle: bool, seed: int, drop_last: bool
    ) -> None:
        if self._late:
            self._read = [Field("", tuple(map(Part, rows.scan.example().columns)))]
        else:
            self._read = self.fields
        needed = list(dict.fromkeys(column for field in self._read for column in field.columns))
        # what a function makes may be vectors, which the schema does not name
        wanted = rows.scan.select(needed) if set(needed) <= set(rows.columns) else rows.scan
        self._plan = plan_of(rows.scan, wanted, self._threads)
        if buffer_size is None:
            fitting = BUFFER_BYTES // self._plan.row_bytes // self.batch_size
            buffer_batches = max(_LEAST_BATCHES, fitting)
        else:
            buffer_batches = max(1, buffer_size // self.batch_size)
        buffer_batches = max(1, min(buffer_batches, BUFFER_ROWS_LIMIT // self.batch_size))
        self._order = Order(self._plan.rows, self.batch_size, buffer_batches, shuffle, seed, drop_last)
        self._check_rows()

    def _check_rows(self) -> None:
        order = self._order
        if not order.steps:
            raise DataError(
                f"{order.rows} rows make no batch of {order.batch_size}, and drop_last leaves out what is "
                "less. Take a smaller batch_size."
            )
        least = int(np.diff(order.first_rows(np.arange(max(0, order.steps - 2), order.steps + 1))).min())
        if least < self.ranks:
            raise DataError(
                f"A batch of {least} rows cannot be shared by {self.ranks} ranks: {order.rows} rows in "
                f"batches of {order.batch_size}. Take a larger batch_size, or fewer ranks."
            )

    def __len__(self) -> int:
        """Batches of an epoch, the same for all ranks."""
        return self._order.steps

    @property
    def rows(self) -> int:
        """Rows of an epoch, of all ranks together."""
        return min(self._order.rows, len(self) * self.batch_size)

    def set_epoch(self, epoch: int) -> None:
        """Begin with this epoch next time, as with PyTorch's samplers.

        Parameters
        ----------
        epoch : its number, from 0.
        """
        if not is_whole(epoch, 0):
            raise ParameterError(f"epoch={epoch!r}: a whole number of at least 0 is needed.")
        self.epoch, self._step, self._resumes = int(epoch), 0, False

    def state_dict(self) -> dict[str, Any]:
        """Where the loader is: after the last batch that was handed out.

        Returns
        -------
        Less than 200 bytes as JSON; the same on all ranks, so one of them may keep it for all.

        Examples
        --------
        >>> import pyarrow as pa, outgrow as og
        >>> loader = og.Loader(pa.table({"a": range(8)}), batch_size=2, format="numpy")
        >>> batches = iter(loader)
        >>> _ = next(batches), next(batches)
        >>> other = og.Loader(pa.table({"a": range(8)}), batch_size=2, format="numpy")
        >>> other.load_state_dict(loader.state_dict())
        >>> [batch["a"].tolist() for batch in other]
        [[4, 5], [6, 7]]
        """
        epochs, step = divmod(self._step, len(self))
        return {"epoch": self.epoch + epochs, "step": step, **self._identity()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where a loader of the same rows was, perhaps with another number of ranks.

        Parameters
        ----------
        state : from `state_dict`.

        Raises
        ------
        DataError
            When that loader had other rows or another order.
        """
        here, known = self._identity(), isinstance(state, Mapping)
        if not known or not all(is_whole(state.get(name), 0) for name in ("epoch", "step")):
            raise DataError(
                f"{state!r:.200} is no state of a loader, which has whole numbers as epoch and step. Give "
                "what state_dict() gave."
            )
        different = [
            f"{name}={state.get(name)!r}, here {value!r}"
            for name, value in here.items()
            if state.get(name) != value
        ]
        if different:
            raise DataError(
                f"This state is of a loader with {'; '.join(different)}. Rows, batch_size, shuffle, seed, "
                "buffer_size and drop_last must be the same."
            )
        if state["step"] > len(self):
            raise DataError(f"This state is after step {state['step']}, and an epoch has {len(self)} steps.")
        self.epoch, self._step, self._resumes = int(state["epoch"]), int(state["step"]), True

    def _identity(self) -> dict[str, Any]:
        order = self._order
        words = f"{order.piece_rows.tolist()} {order.buffer_batches} {order.shuffle} {order.drop_last} {RUNS}"
        return {
            "seed": order.seed,
            "batch_size": order.batch_size,
            "rows": order.rows,
            "order": hashlib.sha256(words.encode()).hexdigest()[:16],
        }

    def to_tf(self) -> Any:
        """The same batches as a `tf.data.Dataset`, whose epochs follow one another as those of the loader.

        Returns
        -------
        A dataset of dicts of tensors. Its signature is that of the first batch, which is read for it.

        Raises
        ------
        ParameterError
            When the format is not 'numpy', or TensorFlow is not installed.

        Examples
        --------
        >>> loader = og.Loader("rows.parquet", batch_size=256, format="numpy")     # doctest: +SKIP
        >>> model.fit(loader.to_tf().map(lambda row: (row["x"], row["y"])))        # doctest: +SKIP
        """
        if self._torch is not None:
            raise ParameterError("to_tf() takes arrays: say format='numpy'.")
        try:
            tf = importlib.import_module("tensorflow")
        except ImportError as error:
            raise MissingExtraError(
                "to_tf() needs TensorFlow, which outgrow does not bring: pip install tensorflow"
            ) from error
        before = self.epoch, self._step, self._resumes
        first = next(iter(self))
        self.epoch, self._step, self._resumes = before
        signature = {
            name: tf.TensorSpec(
                (None, *values.shape[1:]), tf.string if values.dtype == object else values.dtype
            )
            for name, values in first.items()
        }
        return tf.data.Dataset.from_generator(lambda: iter(self), output_signature=signature)

    def __iter__(self) -> Iterator[Arrays]:
        """The batches of the epoch, from its beginning, or from where a loaded state stopped."""
        self._check_process()
        self.rank, self.ranks = rank_and_ranks(*self._said)  # loops like Lightning's join ranks late
        self._check_rows()
        self._end_epoch()  # some loops count batches, and leave before they are told that there is no more
        if not self._resumes:
            self._step = 0
        self._resumes = False
        self.timing = Timing(self._threads)
        return self._timed(self._batches(self._step))

    def _check_process(self) -> None:
        worker = None if self._torch is None else self._torch.utils.data.get_worker_info()
        if worker is not None:
            raise ParameterError(
                f"og.Loader reads with threads, and this is worker process {worker.id} of a DataLoader, "
                "which would read all rows once more. Say num_workers=0."
            )

    def _timed(self, batches: Iterator[tuple[int, Arrays]]) -> Iterator[Arrays]:
        """The batches, with the position and the time that passes noted."""
        timing, began = self.timing, time.perf_counter()
        for rows, batch in batches:
            ready = time.perf_counter()
            timing.waiting += ready - began
            timing.first_batch = timing.first_batch or ready - began
            timing.rows += rows
            self._step += 1
            yield batch
            began = time.perf_counter()
            timing.loop += began - ready
        self._end_epoch()

    def _end_epoch(self) -> None:
        """Go on to the next epoch when all batches of this one were handed out."""
        if self._step >= len(self):
            self.epoch, self._step = self.epoch + 1, 0

    def _batches(self, step: int) -> Iterator[tuple[int, Arrays]]:
        """The batches from a step on, each with the number of its rows."""
        reader = BufferReader(
            self._plan,
            self._order,
            self._read,
            epoch=self.epoch,
            first=self._order.buffer_of(step),
            rank=self.rank,
            ranks=self.ranks,
            threads=self._threads,
            empty=np.empty if self._pinned is None else self._pinned.empty,
        )
        try:
            parts = self._parts(reader, step)
            if self._late or self._function or not all(field.is_array for field in self.fields):
                yield from map(self._handed_out, self._ahead(parts))
            else:
                for buffer, begin, end in parts:
                    yield self._handed_out(self._made(buffer, begin, end))
        finally:
            reader.close()
            self.timing.reading = reader.reading_seconds

    def _parts(self, reader: BufferReader, step: int) -> Iterator[tuple[Buffer, int, int]]:
        """The batches as parts of buffers."""
        for buffer in reader:
            first, _ = buffer.share.steps
            ends = buffer.share.ends.tolist()
            for number in range(max(0, step - first), len(ends) - 1):
                yield buffer, ends[number], ends[number + 1]

    def _ahead(self, parts: Iterator[tuple[Buffer, int, int]]) -> Iterator[tuple[int, Arrays]]:
        """The batches, some of which are made by threads before they are asked for."""
        waiting: deque[Future[tuple[int, Arrays]]] = deque()
        with ThreadPoolExecutor(self._threads, "outgrow transform") as pool:
            try:
                for buffer, begin, end in parts:
                    waiting.append(pool.submit(self._transformed, buffer, begin, end))
                    if len(waiting) > 2 * self._threads:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                pool.shutdown(cancel_futures=True)

    def _transformed(self, buffer: Buffer, begin: int, end: int) -> tuple[int, Arrays]:
        began = time.perf_counter()
        rows, arrays = self._made(buffer, begin, end)
        if self._function is not None:
            arrays = self._function(arrays)
            if not isinstance(arrays, dict):
                raise DataError(f"transform gave a {type(arrays).__name__}; it must return a dict of arrays.")
        self.timing.transforming += time.perf_counter() - began
        return rows, arrays

    def _made(self, buffer: Buffer, begin: int, end: int) -> tuple[int, Arrays]:
        """The fields of a batch."""
        others: Batch | None = None
        if not all(field.is_array for field in self._read):
            others = buffer.others(begin, end)
        if others is not None and self._late:
            others = run_steps(self._late, others)
        arrays: Arrays = {}
        for field in self.fields:
            if field.name in buffer.arrays:
                arrays[field.name] = buffer.arrays[field.name][begin:end]
            else:
                assert others is not None
                arrays[field.name] = field.tensor(others)
        for name, decode in self._decoders.items():
            names = arrays.get("path", [f"in row {row} of the batch" for row in range(end - begin)])
            arrays[name] = decode(arrays[name], names, self.set_aside)
        return end - begin, arrays

    def _handed_out(self, made: tuple[int, Arrays]) -> tuple[int, Arrays]:
        """A batch in the form that the user wants."""
        if self._torch is None:
            return made
        rows, arrays = made
        tensors = {name: self._tensor(name, values) for name, values in arrays.items()}
        if self._pinned is not None:
            self._pinned.keep(arrays)
        return rows, tensors

    def _tensor(self, name: str, values: Any) -> Any:
        if not isinstance(values, np.ndarray):
            return values
        if values.dtype.kind in "OSU":
            return values.tolist()
        tensor = self._torch.from_numpy(plain_numbers(name, values))  # type: ignore[union-attr]
        if self._pin and not (self._pinned is not None and tensor.is_pinned()):
            tensor = tensor.pin_memory()
        return tensor if self._device is None else tensor.to(self._device, non_blocking=True)

    def __repr__(self) -> str:
        rank = f", rank {self.rank} of {self.ranks}" if self.ranks > 1 else ""
        names = ", ".join(field.name for field in self.fields)
        return (
            f"<Loader of {self.rows:,} rows in {len(self):,} batches of {self.batch_size:,}: {names}{rank}>"
        )


def _pinned(device: Any) -> Any:
    """What makes buffers that go to a GPU straight from where they are filled; None where they do not."""
    if device is None or not str(device).startswith("cuda"):
        return None
    from outgrow.deep.pinned import Pinned  # needs torch itself when it is imported

    return Pinned()


def _decoders(images: Mapping[str, Any] | None, fields: list[Field]) -> dict[str, Any]:
    if not images:
        return {}
    bytes_ = [field.name for field in fields if not field.is_array and field.items is None]
    made = decoders(images)
    unknown = [name for name in made if name not in bytes_]
    if unknown:
        raise ParameterError(
            f"images names {unknown}, and the fields that may hold encoded images are {bytes_}."
        )
    return made


def opened(data: Any) -> Dataset:
    """Rows that can be read in pieces, of anything with rows.

    Parameters
    ----------
    data : as `Loader` takes it.
    """
    if _is_path(data) or _is_paths(data):
        data = read(data)
    rows = dataset(data)
    return rows if rows.scan.source.has_pieces else rows.cache()


def _is_paths(data: Any) -> bool:
    return isinstance(data, list | tuple) and bool(data) and all(map(_is_path, data))


def _is_path(data: Any) -> bool:
    return isinstance(data, str | os.PathLike)
