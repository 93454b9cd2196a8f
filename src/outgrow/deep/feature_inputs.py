"""Columns as inputs of pretrained networks: images, texts, vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from outgrow._optional import optional
from outgrow.data.matrix import Column, Matrix
from outgrow.deep.feature_graph import FeatureGraph, Feeds
from outgrow.errors import DataError, ParameterError
from outgrow.ml.images.modes import CHANNELS

_MODES = {channels: mode for mode, channels in CHANNELS.items()}
TOKENS, MASK = "input_ids", "attention_mask"


@dataclass(frozen=True)
class ImageInput:
    """Images as pixels.

    Attributes
    ----------
    name : of the graph's input.
    size : height and width.
    channels : of a pixel: 1, 3 or 4.
    dtype : of the input; uint8 takes pixels as they are.
    last : whether channels come last.
    mean, std : by channel, of pixels between 0 and 1.
    folder : below which paths lie.
    missing : whether what is no image counts as missing.
    """

    name: str
    size: tuple[int, int]
    channels: int
    dtype: str
    last: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]
    folder: str | None
    missing: bool

    @classmethod
    def of(
        cls, graph: FeatureGraph | None, size: Any, mean: Any, std: Any, folder: str | None, *, missing: bool
    ) -> ImageInput:
        """That of a graph, or of a module of torch, where there is no graph yet.

        Parameters
        ----------
        graph : None for a module.
        size : height and width; None for those of the graph.
        mean, std : a number, or one for each channel.
        folder : below which paths lie.
        missing : whether what is no image counts as missing.

        Raises
        ------
        ParameterError
            When the graph takes no images, or nothing says their size.
        """
        name, shape, dtype = "image", [None, 3, None, None], "float32"
        if graph is not None:
            name, (shape, dtype) = _only(graph)
        last = len(shape) == 4 and shape[1] not in _MODES and shape[3] in _MODES
        channels = (shape[3] if last else shape[1]) if len(shape) == 4 else None
        if channels not in _MODES or dtype not in ("float32", "float16", "uint8"):
            raise ParameterError(
                f"network: its input {name!r} has the shape {shape} and the type {dtype}, which is none of "
                "images: (rows, channels, height, width), or with the channels last. Choose other columns."
            )
        sides = shape[1:3] if last else shape[2:]
        if size is None and None in sides:
            raise ParameterError(
                "image_size=None: the network takes images of any size. Give height and width in pixels, "
                "such as image_size=(224, 224)."
            )
        chosen: list[Any] = sides if size is None else list(size)
        if any(one is not None and one != two for one, two in zip(sides, chosen, strict=True)):
            raise ParameterError(
                f"image_size={size!r}: the network takes {sides[0]} x {sides[1]}. Leave image_size away."
            )
        means, stds = _by_channel("image_mean", mean, channels), _by_channel("image_std", std, channels)
        return cls(name, (chosen[0], chosen[1]), channels, dtype, last, means, stds, folder, missing)

    def example(self) -> Feeds:
        """Two black images."""
        return self._feeds(np.zeros((2, *self.size, self.channels), dtype=np.uint8))

    def feeds(self, column: Column, names: pa.Array | None) -> tuple[Feeds, np.ndarray]:
        """Images decoded, and which of the rows have one.

        Parameters
        ----------
        column : of images.
        names : of their files.

        Raises
        ------
        DataError
            When one cannot be decoded.
        """
        from outgrow.ml.images.decoding import resized

        assert isinstance(column, pa.Array)
        mode = _MODES[self.channels]
        pixels, there = [], np.zeros(len(column), dtype=bool)
        for row, value in enumerate(column.to_pylist()):
            if value is None:
                continue
            try:
                pixels.append(resized(value, mode, self.size, scaled=True, folder=self.folder))
            except DataError as error:
                if self.missing:
                    continue
                name = "" if names is None else f" ({names[row]})"
                raise DataError(
                    f"Row {row} of the batch{name}: {error} Leave the row out, or say errors='missing'."
                ) from None
            there[row] = True
        shape = (0, *self.size, self.channels)
        return self._feeds(np.stack(pixels) if pixels else np.zeros(shape, dtype=np.uint8)), there

    def _feeds(self, pixels: np.ndarray) -> Feeds:
        if self.dtype != "uint8":
            scale = (255 * np.array(self.std)).astype(np.float32)
            offset = (np.array(self.mean) / np.array(self.std)).astype(np.float32)
            pixels = (pixels / scale - offset).astype(self.dtype, copy=False)
        return {self.name: pixels if self.last else np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))}


@dataclass(frozen=True)
class TextInput:
    """Texts as numbers of tokens.

    Attributes
    ----------
    tokenizer : of the library tokenizers.
    names : of the graph's inputs.
    length : of a text in tokens, at most.
    dtype : of the inputs.
    """

    tokenizer: Any
    names: tuple[str, ...]
    length: int
    dtype: str = "int64"

    @classmethod
    def of(cls, graph: FeatureGraph | None, written: str, length: int) -> TextInput:
        """That of a graph, or of a module of torch that takes numbers of tokens and a mask.

        Parameters
        ----------
        graph : None for a module.
        written : the tokenizer as JSON.
        length : of a text in tokens, at most.

        Raises
        ------
        ParameterError
            When the tokenizer cannot be read, or the graph takes no tokens.
        """
        try:
            tokenizer = optional("tokenizers", "text").Tokenizer.from_str(written)
        except Exception as error:  # of tokenizers, which knows no other
            raise ParameterError(f"tokenizer: it cannot be read: {error}.") from None
        tokenizer.no_padding()  # of fixed length, which many files ask for: slow
        tokenizer.enable_truncation(length)
        if graph is None:
            return cls(tokenizer, (TOKENS, MASK), length)
        types = {dtype for _, dtype in graph.inputs.values()}
        if types != {"int64"} and types != {"int32"}:
            raise ParameterError(
                f"network: its inputs are {graph.inputs}, which are no numbers of tokens. Choose "
                "other columns."
            )
        return cls(tokenizer, tuple(graph.inputs), length, types.pop())

    def example(self) -> Feeds:
        """Two texts of the same letters."""
        return self._feeds([self._tokens("a b c"), self._tokens("a b c")])

    def feeds(self, column: Column) -> tuple[Feeds, np.ndarray]:
        """Texts as tokens, and which of the rows have one.

        Parameters
        ----------
        column : of text.
        """
        assert isinstance(column, pa.Array)
        texts = column.to_pylist()
        there = np.array([text is not None for text in texts], dtype=bool)
        return self._feeds([self._tokens(text) for text in texts if text is not None]), there

    def _tokens(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text).ids)

    def _feeds(self, rows: Sequence[Sequence[int]]) -> Feeds:
        tokens = np.zeros((len(rows), max([1, *map(len, rows)])), dtype=self.dtype)
        mask = np.zeros_like(tokens)
        for row, ids in enumerate(rows):
            tokens[row, : len(ids)], mask[row, : len(ids)] = ids, 1
        made: dict[str, np.ndarray] = {}
        for number, name in enumerate(self.names):
            is_mask = "mask" in name or (number == 1 and "type" not in name)
            made[name] = mask if is_mask else np.zeros_like(tokens) if "type" in name else tokens
        return made

    @staticmethod
    def mask(feeds: Feeds, answer: np.ndarray) -> np.ndarray:
        """Which positions are no padding.

        Parameters
        ----------
        feeds : what `feeds` gave.
        answer : of the network, of shape (rows, tokens, width).
        """
        masks = [values for name, values in feeds.items() if "mask" in name]
        return masks[0] if masks else np.ones(answer.shape[:2])


@dataclass(frozen=True)
class VectorInput:
    """Vectors of numbers, of the shape that the graph takes.

    Attributes
    ----------
    name : of the graph's input.
    shape : of a row.
    dtype : of the input.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"

    @classmethod
    def of(cls, graph: FeatureGraph | None, width: int) -> VectorInput:
        """That of a graph, or of a module of torch, which gets rows of numbers.

        Parameters
        ----------
        graph : None for a module.
        width : how many numbers a vector has.

        Raises
        ------
        ParameterError
            When the graph takes another number.
        """
        if graph is None:
            return cls("vector", (width,))
        name, (shape, dtype) = _only(graph)
        sizes = tuple(size for size in shape[1:] if size is not None)
        if len(sizes) < len(shape) - 1:
            sizes = (width,) if len(shape) == 2 else sizes
        if int(np.prod(sizes)) != width or len(sizes) != len(shape) - 1 or dtype in ("int64", "int32"):
            raise ParameterError(
                f"network: its input {name!r} has the shape {shape} and the type {dtype}, and a row of the "
                f"column {width} numbers. Choose another column."
            )
        return cls(name, sizes, dtype)

    def example(self) -> Feeds:
        """Two rows of zeros."""
        return {self.name: np.zeros((2, *self.shape), dtype=self.dtype)}

    def feeds(self, column: Column) -> tuple[Feeds, np.ndarray]:
        """Vectors of the shape, and which of the rows have one.

        Parameters
        ----------
        column : of vectors.
        """
        assert isinstance(column, Matrix)
        values = column.values.toarray() if column.sparse else column.values
        there = ~np.isnan(values).any(axis=1)
        rows = np.ascontiguousarray(values[there], dtype=self.dtype)
        return {self.name: rows.reshape(len(rows), *self.shape)}, there


Input = ImageInput | TextInput | VectorInput


def _only(graph: FeatureGraph) -> tuple[str, tuple[list[int | None], str]]:
    if len(graph.inputs) != 1:
        raise ParameterError(
            f"network: it takes {len(graph.inputs)} inputs, {graph.inputs}; images and vectors are one."
        )
    return next(iter(graph.inputs.items()))


def _by_channel(name: str, value: float | Sequence[float], channels: int) -> tuple[float, ...]:
    values = tuple(value) if isinstance(value, Sequence) else (value,) * channels
    if len(values) != channels:
        raise ParameterError(
            f"{name}={value!r}: the network takes {channels} channels. Give one number, or {channels}."
        )
    return tuple(map(float, values))


def texts_by_length(column: pa.Array) -> np.ndarray:
    """Rows in the order of the lengths of their texts, so that texts side by side need little padding.

    Parameters
    ----------
    column : of text.
    """
    lengths = [len(text) if text is not None else 0 for text in column.to_pylist()]
    return np.argsort(lengths, kind="stable")
