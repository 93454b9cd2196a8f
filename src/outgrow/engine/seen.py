"""Which rows a fit has read, for its record."""

from __future__ import annotations

import warnings
from typing import Any

from outgrow.data.scan import Scan
from outgrow.data.version import DatasetVersion
from outgrow.errors import DataChangedWarning


class Seen:
    """The version of rows before work on them; `close` looks whether it is still that.

    Parameters
    ----------
    scan : the rows.
    """

    def __init__(self, scan: Scan) -> None:
        self._scan = scan
        self.version = DatasetVersion.of(scan)

    def close(self) -> dict[str, Any]:
        """The version, as a record has it; a warning where files have changed meanwhile."""
        if any("modified" in file for file in self.version.files):
            now = DatasetVersion.of(self._scan)
            if now.fingerprint != self.version.fingerprint:
                warnings.warn(
                    f"{self.version.uri} was changed while it was read: rows of both states may be in the "
                    "result. Fit again when nobody writes, or read a version of a table (Delta, Iceberg).",
                    DataChangedWarning,
                    stacklevel=4,
                )
                return {**self.version.to_dict(), "changed": True}
        return self.version.to_dict()
