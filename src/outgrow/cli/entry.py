"""Runs a command, and says in one line what went wrong."""

from __future__ import annotations

import errno
import sys

from outgrow.cli.app import INTERNAL_ERROR, USER_ERROR, app
from outgrow.cli.screen import complain
from outgrow.errors import OutgrowError

_PATH_MISTAKES = (FileNotFoundError, FileExistsError, PermissionError, IsADirectoryError, NotADirectoryError)
_INTERRUPTED = 130
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; ends the process with 0, 1 (our mistake) or 2 (the user's)."""
    words = sys.argv[1:] if arguments is None else arguments
    try:
        app(words, prog_name="outgrow")
    except KeyboardInterrupt:
        complain("Stopped.")
        sys.exit(_INTERRUPTED)
    except SystemExit as end:
        if end.code == _INTERRUPTED:  # which Typer makes of Ctrl-C, without a word
            complain("Stopped.")
        raise
    except Exception as error:
        if "--debug" in words:
            raise
        sys.exit(report(error))


def report(error: Exception) -> int:
    """Say what went wrong in one line; whose mistake it was."""
    if isinstance(error, OutgrowError):
        complain(str(error))
        return USER_ERROR if error.user_error else INTERNAL_ERROR
    if isinstance(error, _PATH_MISTAKES) and error.filename is not None:
        complain(f"{error.strerror}: {error.filename}. Check the path.")
        return USER_ERROR
    if isinstance(error, OSError) and error.errno in _DISK:
        written = "the output" if error.filename is None else error.filename
        complain(f"{error.strerror}: {written}. Free space, or write somewhere else.")
        return USER_ERROR
    message_lines = str(error).strip().splitlines() or ["no message"]
    reason = f"{type(error).__name__}: {message_lines[0].rstrip('.')}."
    complain(f"{reason} This should not happen; add --debug to see where.")
    return INTERNAL_ERROR
