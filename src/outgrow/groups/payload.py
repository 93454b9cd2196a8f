"""A model as bytes among many: compressed where that saves something, as it does for trees."""

from __future__ import annotations

import pyarrow as pa

from outgrow.errors import ArtifactError

_MARK, _CODEC = b"zstd", "zstd"
_HEAD = len(_MARK) + 8
_MIN_COMPRESSED_BYTES = 4096
"""Below it next to nothing is saved."""
_MAX_EXPANSION = 40_000
"""Times that zstd can make bytes fewer; more is no saved model."""


def squeezed(payload: bytes) -> bytes:
    """What is kept of a model: trees shrink to a fifth, in a small part of the time it takes to grow them."""
    if len(payload) < _MIN_COMPRESSED_BYTES:
        return payload
    content = pa.compress(payload, codec=_CODEC, asbytes=True)
    return _MARK + len(payload).to_bytes(8, "little") + content


def expanded(kept: bytes) -> bytes:
    """The bytes that `squeezed` was given."""
    if not kept.startswith(_MARK):
        return kept
    size = int.from_bytes(kept[len(_MARK) : _HEAD], "little")
    if size > _MAX_EXPANSION * len(kept):
        raise ArtifactError(f"A model of {len(kept)} bytes says that it expands to {size}. It is damaged.")
    try:
        return pa.decompress(kept[_HEAD:], decompressed_size=size, codec=_CODEC, asbytes=True)
    except (pa.ArrowException, OSError) as error:
        raise ArtifactError(f"A model of a group is damaged: {error}. Restore it from a copy.") from error
