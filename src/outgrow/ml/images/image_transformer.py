"""Images changed and made numbers of, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from outgrow.data.batch import Batch
from outgrow.data.matrix import Matrix
from outgrow.data.names import VectorNames, distinct
from outgrow.engine.shard import Shard
from outgrow.errors import DataError, ParameterError, SchemaError
from outgrow.ml.base import Transformer
from outgrow.ml.core.columns import Columns
from outgrow.ml.core.parameters import COLUMNS, TEXT, OneOf, described
from outgrow.ml.core.task import Task, column_names
from outgrow.ml.images.decoding import images
from outgrow.ml.images.modes import CHANNELS
from outgrow.ml.images.operations import Encode, Operation, Shape, operation
from outgrow.ml.images.sources import check_folder, file_names, holds_images
from outgrow.stats.extremes import Extremes


class ImageTransformer(Transformer):
    """Decode images, do one operation after the other, and make a vector of numbers of each.

    Columns hold encoded images (BMP, GIF, JPEG, PNG, TIFF, WebP and the like) as bytes, such as the column
    `content` of Spark's source `binaryFile`, or Spark's `image` structures, or paths of files below `folder`.
    Each becomes a vector of its pixels, row by row, channels side by side, or of what the last operation
    gives. Images must have one size in the end: `resize`, `crop` and `center_crop` see to that. A missing
    image is a vector of missing values. Images are turned as their camera says, of those that move the first
    picture counts, values of 16 bits are brought to 8, and transparency goes unless the mode has it.

    Operations are names, or mappings of one name to parameters:

    - `{"resize": [height, width]}`, `{"resize": 64}` for the shorter side,
      `{"resize": {"size": [32, 32], "resample": "bicubic"}}`: Pillow's;
    - `{"crop": [top, left, height, width]}`, `{"center_crop": [height, width]}`;
    - `{"flip": "horizontal"}` or `"vertical"`, `{"rotate": 90}`: degrees against the clock;
    - `"grayscale"`, `{"rescale": 0.00392156862745098}`;
    - `"sobel"`: the length of the gradient, `"laplace"`: edges; of scipy.ndimage;
    - at the end `{"histogram": 16}`: shares of pixels, `"size"`: height, width, channels, or
      `{"encode": "png"}`: bytes again.

    It needs the extra `images`.

    Parameters
    ----------
    operations : what is done, in order.
    columns : which columns, by name or selector; by default all of bytes or of Spark's images.
    mode : the channels that images are decoded to: 'RGB', 'RGBA', or 'L' for one of gray.
    folder : below which paths lie; needed for columns of text, and no path may lead out of it.
    errors : 'raise' for bytes that are no image, or 'missing' to take them as missing images.

    Attributes
    ----------
    shapes_ : by column the height, width and channels of what becomes a vector; empty for `encode`.
    labels_ : by column the names of its numbers.

    Notes
    -----
    Unlike scikit-learn: it has no transformer of images.

    Unlike Spark MLlib's `image` source: colours are in the order red, green, blue, and sizes are made equal.

    Numbers are float64: a batch of ten thousand images of 64 x 64 x 3 takes a gigabyte. Where images are
    large, resize them before, or let `encode` keep them small.

    Examples
    --------
    >>> import io, numpy as np, pyarrow as pa, outgrow as og
    >>> from PIL import Image
    >>> file = io.BytesIO()
    >>> Image.fromarray(np.array([[0, 100], [200, 50]], dtype=np.uint8)).save(file, "png")
    >>> rows = pa.table({"image": [file.getvalue()]})
    >>> steps = [{"flip": "horizontal"}, {"rescale": 0.1}]
    >>> og.ImageTransformer(steps, mode="L").fit_transform(rows).to_pydict()
    {'image_0': [10.0], 'image_1': [0.0], 'image_2': [5.0], 'image_3': [20.0]}
    """

    parameters = {
        "operations": described("a list of operations on images"),
        "columns": COLUMNS,
        "mode": OneOf(*CHANNELS),
        "folder": TEXT | None,
        "errors": OneOf("raise", "missing"),
    }
    no_exports: ClassVar[dict[str, str]] = {
        "ONNX": "images are decoded by Pillow",
        "scikit-learn": "it has no transformer of images",
    }

    test_parameters: ClassVar[dict[str, Any]] = {"operations": ["flip"]}

    shapes_: dict[str, list[int]]
    labels_: dict[str, list[str]]

    def __init__(
        self,
        operations: Sequence[Any] = (),
        *,
        columns: Columns = None,
        mode: str = "RGB",
        folder: str | None = None,
        errors: str = "raise",
    ) -> None:
        self.operations = operations
        self.columns = columns
        self.mode = mode
        self.folder = folder
        self.errors = errors

    @classmethod
    def _test_columns(cls, random: np.random.Generator, rows: int) -> dict[str, Any]:
        pixels = random.integers(0, 256, (3, rows, 3, 4, 3), dtype=np.uint8)
        return {name: list(map(Encode(), part)) for name, part in zip("abc", pixels, strict=True)}

    def _check_parameters(self) -> None:
        steps = self._steps()
        ends = [step.name for step in steps[:-1] if step.ends]
        if ends:
            raise ParameterError(f"{ends[0]!r} gives no image: it must be the last operation. Move it there.")

    def _steps(self) -> list[Operation]:
        if isinstance(self.operations, str) or not isinstance(self.operations, Sequence):
            raise ParameterError(f"operations={self.operations!r}: give a list of operations.")
        return list(map(operation, self.operations))

    def _fit(self, shard: Shard, names: list[str], task: Task) -> None:
        types = shard.example.arrow_types(names)
        fit = [name for name in names if name in types and holds_images(types[name])]
        if self.columns is not None:
            text = [name for name in names if name in types and pa.types.is_string(types[name])]
            check_folder("ImageTransformer", text, self.folder)
            wrong = set(names) - set(fit) - set(text)
            if wrong:
                raise SchemaError(
                    f"ImageTransformer takes columns of bytes, Spark's images or paths; {sorted(wrong)} are "
                    "none. Choose others."
                )
            fit = names
        self.selected_ = fit
        before: Shape = (None, None, CHANNELS[self.mode])
        for step in self._steps():
            before = step.shape(before)
        self.shapes_ = {}
        if fit and not self._encodes:
            one = None in before
            self.shapes_ = {name: self._one_shape(shard, name) if one else list(before) for name in fit}  # type: ignore[arg-type]
        self.labels_ = self._free_labels(shard.example)

    @property
    def _encodes(self) -> bool:
        steps = self._steps()
        return bool(steps) and isinstance(steps[-1], Encode)

    def _one_shape(self, shard: Shard, name: str) -> list[int]:
        """The shape that all images of a column have after all operations."""

        def fold(batch: Batch) -> Extremes:
            shapes = [image.shape for image in self._changed(batch, name) if image is not None]
            return Extremes.of(np.array(shapes, dtype=np.float64).reshape(-1, 3))

        found = shard.reduce(fold)
        if not found.rows[0]:
            raise DataError(f"Column {name!r} has no image, so nothing says their size. Resize them.")
        low, high = found.low.astype(int).tolist(), found.high.astype(int).tolist()
        if low != high:
            raise DataError(
                f"Images of column {name!r} are of several sizes: heights {low[0]} to {high[0]}, widths "
                f"{low[1]} to {high[1]}. Give an operation that makes them one: {{'resize': [64, 64]}}."
            )
        return low

    def _changed(self, batch: Batch, name: str) -> list[Any]:
        """Each image of a column after all operations; None where there is none."""
        column = batch[name]
        assert isinstance(column, pa.Array)
        steps, made = self._steps(), []
        missing, names = self.errors == "missing", file_names(batch, name)
        for image in images(column, self.mode, self.folder, missing=missing, names=names):
            changed: Any = image
            if image is not None:
                for step in steps:
                    changed = step(changed)
            made.append(changed)
        return made

    def _transform_columns(self, batch: Batch, names: list[str]) -> Batch:
        if self._encodes:
            return batch.with_columns(
                {name: pa.array(self._changed(batch, name), pa.binary()) for name in names}
            )
        vectors = {name: self._vectors(name, self._changed(batch, name)) for name in names}
        return batch.with_columns({name: Matrix(X, tuple(self.labels_[name])) for name, X in vectors.items()})

    def _vectors(self, name: str, made: list[Any]) -> np.ndarray:
        shape = self.shapes_[name]
        vectors = np.full((len(made), int(np.prod(shape))), np.nan)
        for row, image in enumerate(made):
            if image is None:
                continue
            if image.size != vectors.shape[1] or (image.ndim == 3 and list(image.shape) != shape):
                raise DataError(
                    f"An image of column {name!r} has the shape {tuple(image.shape)} in the end, and those "
                    f"of the fit {tuple(shape)}. Resize images."
                )
            vectors[row] = image.ravel()
        return vectors

    def _free_labels(self, example: Batch) -> dict[str, list[str]]:
        """What the numbers of each column are called."""
        others = example.drop(self.selected_)
        taken, labels = {*others.columns, *column_names(others)}, {}
        for name in self.shapes_:
            labels[name] = distinct(self._labels(name), taken)
            taken |= set(labels[name])
        return labels

    def _labels(self, name: str) -> Sequence[str]:
        height, width, channels = self.shapes_[name]
        steps = self._steps()
        labels = steps[-1].labels((height, width, channels)) if steps else None
        if labels is None:
            return VectorNames(name, height * width * channels)
        return [f"{name}_{label}" for label in labels]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = tags.input_tags.allow_nan = True
        return tags
