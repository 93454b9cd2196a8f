"""Files of text as a source: cut into whole rows, looked through once for their types, read in pieces."""

from __future__ import annotations

import io
import warnings
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from outgrow._process import default_threads
from outgrow.data.batch import Batch
from outgrow.data.encoding import NotUtf8Error, check_utf8, guessed, sniffed
from outgrow.data.hive import Keys, folder_keys, key_types, key_value
from outgrow.data.infer import Inferred, TextFormat, describe_error, inferred, merged, promised
from outgrow.data.json_arrays import ArrayLines, is_array
from outgrow.data.json_lines import JsonLines
from outgrow.data.kind import Kind
from outgrow.data.names import check_names
from outgrow.data.paths import ZIP, compression_of, file_record, replaced_since, unreadable
from outgrow.data.schema import difference
from outgrow.data.source import Piece, chosen, empty_batch, needed
from outgrow.data.text import Csv, TextOptions
from outgrow.data.zipped import Unzipped
from outgrow.errors import (
    ColumnNotFoundError,
    DataError,
    EncodingGuessedWarning,
    OutgrowError,
    SchemaError,
)

BLOCK_BYTES = 4 << 20
"""Of text that are parsed at once; a longer row is taken whole."""
_HEAD_BYTES = 1 << 16
PIECE_BYTES = 32 << 20
"""About how much text one thread reads of a file that can be read from its middle."""
_UTF8_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Block:
    """Whole rows of a file: from which byte to which, and how many."""

    start: int
    stop: int
    rows: int


@dataclass(frozen=True, eq=False)
class TextFile:
    """A file of text, and how its rows are parsed.

    Attributes
    ----------
    names : of the columns, where the first row holds them.
    start : the byte at which the rows begin, in UTF-8.
    encoding : of the bytes; None for UTF-8.
    strange : bytes of a file whose encoding is a guess, as nobody named it and they are not UTF-8.
    array : whether it is one JSON array, whose objects are read as lines.
    head : what is before the rows; None where that is not known.
    """

    filesystem: Any
    path: str
    dialect: TextFormat
    names: tuple[str, ...] = ()
    start: int = 0
    encoding: str | None = None
    strange: bytes = b""
    array: bool = False
    head: bytes | None = None

    @classmethod
    def opened(cls, filesystem: Any, path: str, dialect: TextFormat) -> TextFile:
        """The file with what its first row says; without columns if it is empty.

        Parameters
        ----------
        filesystem : of `pyarrow.fs`.
        path : a file on it; its ending says how it is compressed.
        dialect : the format, with its options.
        """
        with reading(path):
            file, size = cls(filesystem, path, dialect), _HEAD_BYTES
            start = file._begin(size)
            file = file._decoded(start, whole=len(start) < size)
            start = start if file.encoding is None else file._begin(size)
            if isinstance(dialect, JsonLines) and is_array(start):
                file = replace(file, array=True)
                start = file._begin(size)
            skip = len(_UTF8_MARK) if start.startswith(_UTF8_MARK) else 0
            while (head := dialect.head(start[skip:], whole=len(start) < size)) is None:
                size *= 16
                start = file._begin(size)
        stop = skip + head[1]
        return replace(file, names=tuple(head[0]), start=stop, head=start[:stop])

    def _begin(self, size: int) -> bytes:
        with self.stream() as stream:
            return _filled(stream, size)

    def _decoded(self, start: bytes, *, whole: bool) -> TextFile:
        """The file with its encoding, which was named or is what its first bytes say."""
        if self.dialect.options.encoding is not None:
            return replace(self, encoding=self.dialect.options.encoding)
        try:
            return replace(self, encoding=sniffed(start, whole=whole))
        except NotUtf8Error as error:
            return replace(self, encoding=guessed(start), strange=error.sample)

    def guessed(self, strange: bytes) -> TextFile:
        """The file in another encoding, as it is not UTF-8 beyond its first bytes.

        Parameters
        ----------
        strange : bytes that show it.

        Raises
        ------
        DataError
            When no other is likely.
        """
        with reading(self.path):
            first = next(block for _, block in self.blocks() if not block.isascii())
            return replace(self, encoding=guessed(first), strange=strange, head=None)

    def check_head(self, head: bytes) -> None:
        """Refuse a file whose first row is not what it was: its values would be those of other columns."""
        if self.head is not None and head != self.head:
            raise replaced_since(self.path, "its first row is another")

    @property
    def seekable(self) -> bool:
        """Whether bytes in the file are bytes of UTF-8."""
        return self.encoding is None and compression_of(self.path) is None and not self.array

    def stream(self) -> Any:
        """The bytes of the file, decompressed, as UTF-8; of an array, a line for each row."""
        how = compression_of(self.path)
        if how == ZIP:
            raw: Any = Unzipped(self.filesystem.open_input_file(self.path))
        else:
            raw = self.filesystem.open_input_stream(self.path, compression=how)
        text = raw if self.encoding is None else _Encoded(raw, self.encoding)
        return ArrayLines(text) if self.array else text

    def blocks(self, size: int = BLOCK_BYTES) -> Iterator[tuple[int, bytes]]:
        """Whole rows of about `size` bytes, and the byte at which they begin."""
        with reading(self.path), self.stream() as stream:
            self.check_head(_filled(stream, self.start))
            at, rest, more = self.start, b"", True
            while more:
                read = _filled(stream, max(size, len(rest)))
                block, more = rest + read, bool(read)
                if not more:
                    self.dialect.check_end(block)
                end = self.dialect.cut(block) if more else len(block)
                if end:
                    yield at, block[:end]
                at, rest = at + end, block[end:]

    def parse(
        self, block: bytes, row: int, types: Mapping[str, pa.DataType], columns: Sequence[str]
    ) -> pa.Table:
        """Whole rows as a table.

        Parameters
        ----------
        block : bytes of UTF-8.
        row : the number of the first of them in the file, for messages.
        types : by name; columns without a type get one.
        columns : those that are wanted, in their order.

        Raises
        ------
        DataError
            When they are no rows of these columns, or not of these types.
        """
        with reading(self.path, self.names, row):
            return self.dialect.parse(block, self.names, types, columns)

    def look(self, at: int, block: bytes) -> tuple[Block, Inferred]:
        """How many rows there are, and what they say of the columns.

        Parameters
        ----------
        at : the byte of the file at which the block begins.
        block : whole rows, as bytes of UTF-8.
        """
        with reading(self.path, self.names):
            check_utf8(block)
            table, words = self.dialect.infer(block, self.names)
            return Block(at, at + len(block), table.num_rows), inferred(table, words)


@dataclass(frozen=True, eq=False)
class TextPiece:
    """Some rows of a file of text; without `blocks`, all of them."""

    file: TextFile
    schema: pa.Schema
    keys: Keys
    nbytes: int
    first: int = 0
    blocks: tuple[Block, ...] | None = None

    @property
    def known_rows(self) -> None:
        return None

    def location(self, row: int) -> str:
        return f"row {self.first + row} of {self.file.path}"

    def __str__(self) -> str:
        return self.file.path

    def batches(
        self, columns: Sequence[str] | None, where: pc.Expression | None, *, encoded: bool = False
    ) -> Iterator[Batch]:
        """Its rows, as `Piece.batches`; each block is parsed when it is asked for.

        Parameters
        ----------
        columns : names of columns, also of keys of folders; None for all.
        where : rows that are wanted; None for all.
        encoded : without effect.

        Raises
        ------
        DataError
            When text is not of the types that the whole source has.
        """
        wanted = needed(self.schema.names, columns, where)
        stored = [name for name in wanted if name not in self.keys]
        types = {name: self.schema.field(name).type for name in stored}
        row = self.first
        for block in self._read():
            table = self.file.parse(block, row, types, stored)
            row += table.num_rows
            yield from chosen(self._with_keys(table, wanted), columns, where)

    def _read(self) -> Iterator[bytes]:
        if self.blocks is None:
            yield from (block for _, block in self.file.blocks())
            return
        with reading(self.file.path), self.file.filesystem.open_input_file(self.file.path) as file:
            self.file.check_head(file.read(self.file.start))
            for block in self.blocks:
                file.seek(block.start)
                read = file.read(block.stop - block.start)
                if len(read) < block.stop - block.start:
                    raise replaced_since(self.file.path, "it is shorter")
                yield read

    def _with_keys(self, table: pa.Table, names: Sequence[str]) -> pa.Table:
        columns = dict(zip(table.schema.names, table.columns, strict=True))
        for name in (name for name in names if name in self.keys):
            value = key_value(self.file.path, name, self.keys[name], self.schema.field(name).type)
            columns[name] = pa.repeat(value, table.num_rows)
        return pa.table(
            [columns[name] for name in names], pa.schema([self.schema.field(name) for name in names])
        )


class TextSource:
    """The rows of some files of delimited text or JSON, in the order of their paths.

    Types are those that hold every value of every file: all are looked through once, when types are first
    asked for.
    """

    has_pieces = True

    def __init__(self, filesystem: Any, files: Sequence[str], format: str, options: TextOptions) -> None:
        self.filesystem = filesystem
        self.format = format
        self.options = options
        self.paths = list(files)
        self.dialect: TextFormat = (
            JsonLines(options) if format == "json" else Csv(options, "\t" if format == "tsv" else ",")
        )
        self._keys = [folder_keys(path) for path in files]
        self._key_types = key_types(self._keys)
        self._promised: dict[str, Kind] = {}

    @cached_property
    def _opened(self) -> list[TextFile]:
        """The files with what their first rows say."""
        with ThreadPoolExecutor(8) as pool:
            files = list(
                pool.map(lambda path: TextFile.opened(self.filesystem, path, self.dialect), self.paths)
            )
        _say_guesses(files)
        return files

    @cached_property
    def _inspected(self) -> tuple[list[TextFile], list[list[Block]], Inferred]:
        """The files, the blocks of each, and what all of them say of the columns."""
        with ThreadPoolExecutor(8) as readers, ThreadPoolExecutor(default_threads()) as parsers:
            inspected = list(readers.map(lambda file: _examined(file, parsers), self._opened))
        files = [file for file, _ in inspected]
        _say_guesses([file for file, first in zip(files, self._opened, strict=True) if file is not first])
        blocks = [[block for block, _ in looks] for _, looks in inspected]
        return files, blocks, merged([says for _, looks in inspected for _, says in looks], self.dialect)

    @property
    def _files(self) -> list[TextFile]:
        return self._inspected[0] if "_inspected" in self.__dict__ else self._opened

    @cached_property
    def schema(self) -> pa.Schema:
        names = self._names
        types = self._given if names and set(names) <= set(self._given) else self._inferred_types(names)
        keys = {name: self._given.get(name, kind) for name, kind in self._key_types.items()}
        schema = promised(pa.schema(list({**types, **keys}.items())), self._promised, self.dialect)
        if not schema.names:
            raise DataError(f"{self.paths[0]} is empty: no row says which columns there are. Write it again.")
        check_names(schema.names, self.paths[0])
        return schema

    def with_kinds(self, kinds: Mapping[str, Kind]) -> TextSource:
        """The same rows, with columns read so that they are of the kinds that were promised."""
        _ = self.schema  # what it found out need not be found out again by each that is made of it
        other = TextSource(self.filesystem, self.paths, self.format, self.options)
        other.__dict__ |= {
            name: self.__dict__[name] for name in ("_opened", "_inspected") if name in self.__dict__
        }
        other._promised = dict(kinds)
        return other

    def example(self) -> Batch:
        return empty_batch(self.schema)

    def pieces(self) -> Sequence[Piece]:
        _ = self.schema  # which may tell more of the files
        sizes = {info.path: int(info.size or 0) for info in self.filesystem.get_file_info(self.paths)}
        return [
            piece
            for file_number, file in enumerate(self._files)
            for piece in self._pieces(file_number, file, sizes.get(file.path, 0))
        ]

    def describe(self) -> dict[str, Any]:
        options = {
            "types": {name: str(kind) for name, kind in self.options.types.items()},
            "na_values": list(self.options.na_values),
            "encoding": ", ".join(sorted({file.encoding for file in self._files if file.encoding})),
            "sep": self.options.sep,
            "decimal": self.options.decimal.replace(".", ""),
        }
        read = {name: value for name, value in options.items() if value}
        return {
            "kind": self.format,
            **file_record(self.filesystem, self.paths),
            **({"read": read} if read else {}),
        }

    @property
    def _given(self) -> dict[str, pa.DataType]:
        return dict(self.options.types)

    @property
    def _names(self) -> list[str]:
        """The columns that the first rows of the files name; files without any are no rows."""
        named = [file for file in self._files if file.names]
        if not named and isinstance(self.dialect, Csv):
            raise DataError(f"{self.paths[0]} is empty: not even a first row names columns. Write it again.")
        unknown = set(self._given) - set(named[0].names if named else self._given) - set(self._key_types)
        if unknown:
            raise ColumnNotFoundError(f"types: no column {sorted(unknown)} in {self.paths[0]}.")
        for file in named:
            if set(file.names) != set(named[0].names):
                raise _others(file, named[0])
        return list(named[0].names) if named else []

    def _inferred_types(self, names: Sequence[str]) -> dict[str, pa.DataType]:
        schema = self._inspected[2].schema
        inferred_types = {column.name: column.type for column in schema}
        return {name: inferred_types.get(name, pa.null()) for name in names or inferred_types} | {
            name: kind for name, kind in self._given.items() if name in (names or inferred_types)
        }

    def _pieces(self, file_number: int, file: TextFile, size: int) -> Iterator[TextPiece]:
        others = [name for name in self._key_types if name not in file.names]
        keys, schema = {**dict.fromkeys(others), **self._keys[file_number]}, self.schema
        if not file.names and isinstance(self.dialect, Csv):
            return
        if not file.seekable or "_inspected" not in self.__dict__:
            yield TextPiece(file, schema, keys, size)
            return
        first, run = 0, list[Block]()
        blocks = self._inspected[1][file_number]
        for number, block in enumerate(blocks):
            run.append(block)
            if block.stop - run[0].start >= PIECE_BYTES or number == len(blocks) - 1:
                yield TextPiece(file, schema, keys, block.stop - run[0].start, first, tuple(run))
                first, run = first + sum(earlier.rows for earlier in run), []


def _examined(file: TextFile, pool: ThreadPoolExecutor) -> tuple[TextFile, list[tuple[Block, Inferred]]]:
    """A file, perhaps in another encoding than its first rows let on, and what its blocks say."""
    try:
        return file, list(_look(file, pool))
    except NotUtf8Error as error:
        other = file.guessed(error.sample)
        return other, list(_look(other, pool))


def _say_guesses(files: Sequence[TextFile]) -> None:
    """Warn of files whose encoding is a guess."""
    guesses = [file for file in files if file.strange]
    if guesses:
        first, encoding = guesses[0], str(guesses[0].encoding)
        others = f" and {len(guesses) - 1} more" if len(guesses) > 1 else ""
        text = first.strange.decode(encoding, "replace")
        warnings.warn(
            f"{first.path}{others}: not UTF-8; read as {encoding}, in which {first.strange!r} is {text!r}. "
            f"Name the encoding (encoding={encoding!r}, or the right one).",
            EncodingGuessedWarning,
            stacklevel=2,
        )


def _look(file: TextFile, pool: ThreadPoolExecutor) -> Iterator[tuple[Block, Inferred]]:
    """What the blocks of a file say; a few are looked at at once."""
    waiting: deque[Future[tuple[Block, Inferred]]] = deque()
    with reading(file.path):
        for at, block in file.blocks():
            waiting.append(pool.submit(file.look, at, block))
            if len(waiting) > 2 * default_threads():
                yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


class reading:  # noqa: N801 (a context manager, used like a function)
    """Errors while a file is read name the file."""

    def __init__(self, path: str, names: Sequence[str] = (), row: int = 0) -> None:
        self.path, self.names, self.row = path, names, row

    def __enter__(self) -> None:
        return None

    def __exit__(self, _: Any, error: BaseException | None, __: Any) -> None:
        if isinstance(error, OutgrowError):
            if isinstance(error, DataError | SchemaError) and self.path not in str(error):
                error.args = (f"{self.path} cannot be read: {str(error).removesuffix('.')}.",)
        elif isinstance(error, pa.ArrowException | UnicodeError):
            raise DataError(
                f"{self.path} cannot be read: {describe_error(error, self.names, self.row)}."
            ) from error
        elif isinstance(error, OSError):
            raise unreadable(self.path, error) from error


class _Encoded:
    """Text in another encoding, as a stream of UTF-8."""

    def __init__(self, raw: Any, encoding: str) -> None:
        self._text = io.TextIOWrapper(raw, encoding, newline="")
        self._rest = b""

    def read(self, size: int) -> bytes:
        ready = self._rest or self._text.read(size).encode()
        self._rest = ready[size:]
        return ready[:size]

    def __enter__(self) -> _Encoded:
        return self

    def __exit__(self, *_: object) -> None:
        self._text.close()


def _filled(stream: Any, size: int) -> bytes:
    """So many bytes of a stream, or all that are left."""
    parts, left = [], size
    while left > 0 and (part := stream.read(left)):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _others(file: TextFile, first: TextFile) -> SchemaError:
    expected, actual = (
        pa.schema([(name, pa.null()) for name in text_file.names]) for text_file in (first, file)
    )
    changes = difference(expected, actual).replace(": null", "")
    return SchemaError(
        f"{file.path} has other columns than {first.path}:\n{changes}\n"
        "Make the files alike, or read them separately."
    )
