"""What a pretrained network makes of images, texts or vectors, as features of other models."""

from __future__ import annotations

import os
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa
from sklearn.base import clone

from outgrow.data.batch import Batch, is_vector
from outgrow.data.matrix import Column, Matrix
from outgrow.data.names import VectorNames, distinct
from outgrow.deep.feature_graph import FeatureGraph, graph_of_file, graph_of_module, is_module
from outgrow.deep.feature_inputs import ImageInput, Input, TextInput, VectorInput, texts_by_length
from outgrow.engine.shard import Shard
from outgrow.errors import InputNotFoundError, ParameterError, SchemaError
from outgrow.ml.base import Transformer
from outgrow.ml.core.columns import Columns
from outgrow.ml.core.parameters import COLUMNS, FLAG, TEXT, Integer, OneOf, Such, described
from outgrow.ml.core.task import Task, column_names
from outgrow.ml.images.sources import check_folder, file_names, holds_images

IMAGE, WORDS, VECTOR = "image", "text", "vector"


def _is_size(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(one in Integer(low=1) for one in value)


def _are_numbers(value: Any) -> bool:
    values = value if isinstance(value, list | tuple) else [value]
    return bool(values) and all(isinstance(one, int | float) and np.isfinite(one) for one in values)


def _are_positive(value: Any) -> bool:
    return _are_numbers(value) and bool(np.all(np.asarray(value) > 0))


class NetworkFeatures(Transformer):
    """Features that a pretrained network computes: the first half of transfer learning.

    Each column of images, texts or vectors becomes a vector: what the network, or one of its layers, answers.
    A linear model on top of them learns in seconds what a network would need hours for. The network is kept
    as an ONNX graph and runs in ONNX Runtime, one thread a batch, so scoring needs no torch. Features that
    several models use are computed once with `transform(rows).cache(folder, keep=True)`.

    It needs the extra `onnx`; modules of torch need `torch` while it is fitted, images `images`, texts
    `text`.

    Parameters
    ----------
    network : the path of an ONNX file, its bytes, or a module of torch, which answers as in evaluation mode.
    layer : where it ends: of a module the name of a submodule, such as 'avgpool', of a graph that of a tensor
        or node. None for its first output.
    columns : which columns, by name or selector. By default all of images; with `tokenizer`, all of text;
        where there are none, all of vectors.
    image_size : height and width to which images are brought, by Pillow's bilinear filter, JPEG at a fraction
        of their size; None for those of the graph.
    image_mean, image_std : by channel or of all, what pixels between 0 and 1 are reduced by, and then divided
        by, as `torchvision.transforms.Normalize` does. Every network has its own: wrong ones give features
        that are only worse, and no error.
    tokenizer : the path of a file of the library tokenizers (`tokenizer.json`), or its content.
    max_length : of a text in tokens; what is behind does not count.
    pooling : how an answer of several positions (rows, positions, width), or of an image (rows, channels,
        height, width), becomes one vector: 'mean' over positions that are no padding, 'first' for the first
        one, None for all numbers side by side.
    normalize : bring vectors to length one, as most sentence embeddings are.
    batch_size : rows that the network answers at a time.
    folder : below which paths of images lie; needed for columns of text without a tokenizer.
    errors : 'raise' for bytes that are no image, or 'missing' to take them as missing.

    Attributes
    ----------
    graph_ : the bytes of the ONNX graph.
    kinds_ : by column 'image', 'text' or 'vector'.
    widths_ : by column how many features there are.
    tokenizer_ : the content of the tokenizer, if there is one.

    Raises
    ------
    ParameterError
        When a parameter has a value that it cannot have, or the network does not take the columns.

    Notes
    -----
    Missing values give vectors of missing values. Features are float32, and of one row the same in any batch
    up to rounding.

    Unlike scikit-learn: it has no pretrained networks.

    Unlike sentence-transformers' `encode`: `max_length` is a parameter, and texts that are cut are not told
    from others either.

    Examples
    --------
    >>> import pyarrow as pa, torch, outgrow as og
    >>> net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1))
    >>> rows = pa.table({"v": pa.array([[1.0, 2.0], [3.0, 4.0]], pa.list_(pa.float64(), 2))})
    >>> og.NetworkFeatures(net, layer="1").fit_transform(rows).column_names
    ['v_0', 'v_1', 'v_2']
    """

    learns_nothing = True
    parameters = {
        "network": described("the path of an ONNX file, its bytes, or a module of torch"),
        "layer": TEXT | None,
        "columns": COLUMNS,
        "image_size": Such("height and width in pixels", _is_size) | None,
        "image_mean": Such("a number, or one for each channel", _are_numbers),
        "image_std": Such("a positive number, or one for each channel", _are_positive),
        "tokenizer": described("the path of a tokenizer, or its content") | None,
        "max_length": Integer(low=2),
        "pooling": OneOf("mean", "first", None),
        "normalize": FLAG,
        "batch_size": Integer(low=1),
        "folder": TEXT | None,
        "errors": OneOf("raise", "missing"),
    }
    no_exports: ClassVar[dict[str, str]] = {
        "ONNX": "images are decoded by Pillow, and texts cut by tokenizers",
        "scikit-learn": "it has no pretrained networks",
    }

    graph_: bytes
    kinds_: dict[str, str]
    widths_: dict[str, int]
    tokenizer_: str | None
    _read: tuple[Any, bytes | None, str | None] | None = None
    _opened: FeatureGraph | None = None

    def __init__(
        self,
        network: Any,
        *,
        layer: str | None = None,
        columns: Columns = None,
        image_size: Sequence[int] | None = None,
        image_mean: float | Sequence[float] = 0.0,
        image_std: float | Sequence[float] = 1.0,
        tokenizer: str | os.PathLike[str] | None = None,
        max_length: int = 256,
        pooling: str | None = "mean",
        normalize: bool = False,
        batch_size: int = 32,
        folder: str | None = None,
        errors: str = "raise",
    ) -> None:
        self.network = network
        self.layer = layer
        self.columns = columns
        self.image_size = image_size
        self.image_mean = image_mean
        self.image_std = image_std
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.pooling = pooling
        self.normalize = normalize
        self.batch_size = batch_size
        self.folder = folder
        self.errors = errors

    # ---- the network, read where the fit was asked for ---------------------------------------------------

    def _check_parameters(self) -> None:
        known = isinstance(self.network, bytes | str | os.PathLike) or is_module(self.network)
        if not known or self.network in ("", b""):
            raise ParameterError(
                f"network={self.network!r}: give the path of an ONNX file, its bytes, or a module of torch."
            )
        tokenizer = _tokenizer(self.tokenizer)
        self._read = self.network, self._graph_before_rows(tokenizer), tokenizer

    def _graph_before_rows(self, tokenizer: str | None) -> bytes | None:
        """The graph; None of a module where only the rows say what it gets.

        What a cluster gets is then the graph, and needs neither the file nor torch nor the module's class.
        """
        if not is_module(self.network):
            return graph_of_file(self.network, self.layer)
        if tokenizer is not None:
            example = TextInput.of(None, tokenizer, self.max_length).example()
        elif self.image_size is not None:
            example = self._image_input(None).example()
        else:
            return None
        return graph_of_module(self.network, example, self.layer)

    def _worker(self) -> Self:
        made: Self = clone(self)  # with what was read
        return made

    def __sklearn_clone__(self) -> Self:
        made = super().__sklearn_clone__()
        if self._read is not None and self._read[0] is self.network:
            made._read = made.network, *self._read[1:]
        return made

    def __getstate__(self) -> dict[str, Any]:
        state = {**super().__getstate__(), "_opened": None}
        read = self._read
        if read is not None and read[0] is self.network and read[1] is not None:
            state.update(network=read[1], layer=None, _read=(read[1], *read[1:]))
        return state

    def _restored(self) -> None:
        self._opened = None
        if isinstance(self.network, str) and self.network.startswith(_DIGEST):
            self.network, self.layer = _Graph(self.graph_), None

    def _parameters_to_save(self) -> dict[str, Any]:
        named = self.get_params(deep=False)
        if not isinstance(self.network, str | os.PathLike):
            content = getattr(self, "graph_", None) or (self._read or (None, None))[1] or b""
            named["network"] = _DIGEST + sha256(content).hexdigest()
        return named

    # ---- learning: what goes in, and what comes out ------------------------------------------------------

    def _fit(self, shard: Shard, names: list[str], task: Task) -> None:
        if self._read is None or self._read[0] is not self.network:  # as where a job file's steps are fitted
            self._check_parameters()
        assert self._read is not None
        _, graph, self.tokenizer_ = self._read
        self.kinds_ = self._kinds(shard.example, names)
        self.selected_ = list(self.kinds_)
        if graph is None:
            graph = self._exported(shard.example)
        self.graph_, self._opened = graph, None
        self.widths_ = {}
        for name in self.selected_:
            given = self._input(name, self._graph, _width(shard.example, name))
            self.widths_[name] = self._answers(given, given.example()).shape[1]
        self.labels_ = self._free_labels(shard.example)

    def _kinds(self, example: Batch, names: list[str]) -> dict[str, str]:
        types = example.arrow_types(names)
        kinds = {name: self._kind(types.get(name), example[name]) for name in names}
        if self.columns is None:
            order = (IMAGE, WORDS, VECTOR) if self.tokenizer is None else (WORDS,)
            first = next((kind for kind in order if kind in kinds.values()), None)
            kinds = {name: kind for name, kind in kinds.items() if kind == first}
            if first is None:
                self._refuse(names, types)
        wrong = [name for name, kind in kinds.items() if kind is None]
        if wrong:
            self._refuse(wrong, types)
        paths = [name for name, kind in kinds.items() if kind == IMAGE and pa.types.is_string(types[name])]
        check_folder(type(self).__name__, paths, self.folder)
        return {name: str(kind) for name, kind in kinds.items()}

    def _kind(self, type: pa.DataType | None, column: Column) -> str | None:
        if isinstance(column, Matrix) or (type is not None and is_vector(type)):
            return VECTOR
        if type is not None and pa.types.is_string(type):
            if self.tokenizer is not None:
                return WORDS
            return IMAGE if self.columns is not None or self.folder is not None else None
        return IMAGE if type is not None and holds_images(type) else None

    def _refuse(self, names: list[str], types: dict[str, pa.DataType]) -> None:
        shown = {name: str(types.get(name, "vector")) for name in names[:10]}
        raise SchemaError(
            f"NetworkFeatures takes columns of images, of vectors, or with tokenizer= of text; {shown} are "
            "none of these. Choose others."
        )

    def _input(self, name: str, graph: FeatureGraph | None, width: int) -> Input:
        kind = self.kinds_[name]
        if kind == WORDS:
            if self.tokenizer_ is None:
                raise ParameterError("tokenizer=None: columns of text need one. Give its path.")
            return TextInput.of(graph, self.tokenizer_, self.max_length)
        if kind == VECTOR:
            return VectorInput.of(graph, width)
        return self._image_input(graph)

    def _image_input(self, graph: FeatureGraph | None) -> ImageInput:
        return ImageInput.of(
            graph,
            self.image_size,
            self.image_mean,
            self.image_std,
            self.folder,
            missing=self.errors == "missing",
        )

    def _exported(self, example: Batch) -> bytes:
        """The graph of a module, by what the first column gives it."""
        first = self.selected_[0]
        given = self._input(first, None, _width(example, first))
        return graph_of_module(self.network, given.example(), self.layer)

    def _free_labels(self, example: Batch) -> dict[str, list[str]]:
        """What the features of each column are called."""
        others = example.drop(self.selected_)
        taken, labels = {*others.columns, *column_names(others)}, {}
        for name, width in self.widths_.items():
            labels[name] = distinct(VectorNames(name, width), taken)
            taken |= set(labels[name])
        return labels

    # ---- answers -----------------------------------------------------------------------------------------

    @property
    def _graph(self) -> FeatureGraph:
        if self._opened is None:
            self._opened = FeatureGraph(self.graph_)
        return self._opened

    def _transform_columns(self, batch: Batch, names: list[str]) -> Batch:
        made = {name: self._features(batch, name) for name in names}
        return batch.with_columns({name: Matrix(X, tuple(self.labels_[name])) for name, X in made.items()})

    def _features(self, batch: Batch, name: str) -> np.ndarray:
        width = self.widths_[name]
        given = self._input(name, self._graph, _width(batch, name))
        features = np.full((batch.num_rows, width), np.nan, dtype=np.float32)
        order = np.arange(batch.num_rows)
        if isinstance(given, TextInput):
            order = texts_by_length(batch[name])
        batch = batch.select([name, "path"] if "path" in batch.columns and name != "path" else [name])
        for start in range(0, len(order), self.batch_size):
            rows = order[start : start + self.batch_size]
            part = batch.take(rows)
            if isinstance(given, ImageInput):
                feeds, there = given.feeds(part[name], file_names(part, name))
            else:
                feeds, there = given.feeds(part[name])
            if there.any():
                features[rows[there]] = self._answers(given, feeds)
        return features

    def _answers(self, given: Input, feeds: Any) -> np.ndarray:
        """The network's answer as one vector a row."""
        answer = self._graph(feeds)
        if answer.ndim < 2:
            answer = answer.reshape(len(answer), -1)
        if isinstance(given, TextInput) and answer.ndim == 3:
            answer = self._pooled_tokens(given, feeds, answer)
        elif answer.ndim > 2 and self.pooling is not None:
            if answer.ndim == 4 and not (isinstance(given, ImageInput) and given.last):
                answer = answer.transpose(0, 2, 3, 1)  # positions come before channels
            answer = answer.reshape(len(answer), -1, answer.shape[-1])
            answer = answer.mean(axis=1) if self.pooling == "mean" else answer[:, 0]
        answer = answer.reshape(len(answer), -1).astype(np.float32, copy=False)
        if self.normalize:
            lengths = np.linalg.norm(answer, axis=1, keepdims=True)
            answer = answer / np.where(lengths > 0, lengths, 1)
        return answer

    def _pooled_tokens(self, given: TextInput, feeds: Any, answer: np.ndarray) -> np.ndarray:
        if self.pooling is None:
            raise ParameterError(
                "pooling=None: texts have different numbers of tokens, so their answers side by side are of "
                "no one length. Say pooling='mean' or 'first'."
            )
        if self.pooling == "first":
            return answer[:, 0]
        mask = given.mask(feeds, answer).astype(np.float32)[..., None]
        pooled: np.ndarray = (answer * mask).sum(axis=1) / np.maximum(mask.sum(axis=1), 1)
        return pooled

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = tags.input_tags.allow_nan = True
        return tags


class _Graph(bytes):
    """A graph that prints short."""

    def __repr__(self) -> str:
        return f"<ONNX graph of {len(self):,} bytes>"


_DIGEST = "sha256:"
"""With which the parameter begins where the network itself is in what was learned."""


def _tokenizer(given: Any) -> str | None:
    """The content of a tokenizer."""
    if given is None or (isinstance(given, str) and given.lstrip().startswith("{")):
        return given
    try:
        return Path(given).read_text(encoding="utf-8")
    except (OSError, TypeError, UnicodeDecodeError) as error:
        raise InputNotFoundError(
            f"tokenizer={given!r}: the file cannot be read: {error}. Give the path of a tokenizer.json."
        ) from error


def _width(batch: Batch, name: str) -> int:
    column = batch[name]
    return column.width if isinstance(column, Matrix) else 0
