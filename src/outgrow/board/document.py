"""The page: one HTML document with its styles and scripts inside, and a policy that lets in nothing else."""

from __future__ import annotations

import base64
import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_STATIC = Path(__file__).parent / "static"
_CORE = ("core.js", "figures.js", "tables.js")
"""Scripts that the pages use; all others are pages, which register themselves in any order."""


@dataclass(frozen=True)
class Document:
    """The page as it is sent.

    Attributes
    ----------
    html, compressed : as bytes, the second by gzip.
    policy : the Content-Security-Policy; it names the digests of the one style and the one script.
    """

    html: bytes
    compressed: bytes
    policy: str


@cache
def document() -> Document:
    """The page, put together once."""
    style = (_STATIC / "board.css").read_text()
    pages = sorted(path.name for path in _STATIC.glob("*.js") if path.name not in _CORE)
    scripts = "\n".join((_STATIC / name).read_text() for name in (*_CORE, *pages))
    script = f'"use strict";\n(() => {{\n{scripts}\nbegin();\n}})();\n'
    assert "</script" not in script
    assert "</style" not in style
    html = (_STATIC / "board.html").read_text()
    html = html.replace("<style></style>", f"<style>{style}</style>")
    html = html.replace("<script></script>", f"<script>{script}</script>")
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src '{_digest(script)}'",
            f"style-src '{_digest(style)}'",
            "connect-src 'self'",
            "img-src data: blob:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )
    encoded = html.encode()
    return Document(encoded, gzip.compress(encoded, 9, mtime=0), policy)


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
