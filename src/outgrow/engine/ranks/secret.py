"""Where ranks that a launcher started get the secret by which they know each other."""

from __future__ import annotations

import os
import secrets
import stat
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from outgrow.engine.ranks.launch import Launch
from outgrow.errors import EngineError, ParameterError

VARIABLE = "OUTGROW_SECRET"
_LEAST = 16


class Secret:
    """The secret of one launch: from the environment, else from a file that rank 0 writes on their machine.

    The file is readable by its user alone, and rank 0 removes it once all have met.
    """

    def __init__(self, launch: Launch) -> None:
        self._launch = launch
        given = os.environ.get(VARIABLE)
        self._given = None if given is None else given.encode()
        if self._given is not None and len(self._given) < _LEAST:
            raise ParameterError(f"{VARIABLE} has fewer than {_LEAST} characters: anybody could guess it.")
        if self._given is None and not launch.one_host:
            raise EngineError(
                f"The {launch.size} ranks are on several hosts, and need a secret by which they know each "
                f"other. Set it for all before they start:  export {VARIABLE}=$(openssl rand -hex 32)  "
                "and let the launcher pass it on (mpirun -x OUTGROW_SECRET; torchrun and srun do so)."
            )
        name = f"outgrow-ranks-{os.getuid()}-{launch.run}"
        self._path = Path(tempfile.gettempdir()) / name
        if self._given is None and launch.rank == 0:
            self._given = self._written()

    def now(self) -> bytes | None:
        """What is known of it, which may be that of an earlier run; None while rank 0 has not written it."""
        return self._given or self._read()

    def clear(self) -> None:
        """All have met."""
        if self._launch.rank == 0:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)

    def _written(self) -> bytes:
        """A new secret, in place of one that a run left which was killed."""
        made = secrets.token_hex(32).encode()
        draft = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(made)
        draft.rename(self._path)
        return made

    def _read(self) -> bytes | None:
        """What is in the file, if it is of this user and nobody else could have read it."""
        try:
            handle = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError:
            return None
        with os.fdopen(handle, "rb") as file:
            about = os.fstat(handle)
            private = about.st_uid == os.getuid() and not stat.S_IMODE(about.st_mode) & 0o077
            return file.read() or None if private else None


def wait_a_little(until: float, what: str) -> None:
    """Let a moment pass, unless it is too late.

    Parameters
    ----------
    until : by `time.monotonic`.
    what : the message, when it is.

    Raises
    ------
    EngineError
        When the time is over.
    """
    if time.monotonic() > until:
        raise EngineError(what)
    time.sleep(0.05)
