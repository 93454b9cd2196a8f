"""What scikit-learn's checks refuse, as errors of outgrow: with the messages that its users know."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from outgrow.errors import DataError, OutgrowError, SchemaError, ValueTypeError

_OTHER_COLUMNS = ("features as input", "feature names")
"""What the messages say when columns are not those of the fit."""


@contextmanager
def own_errors() -> Iterator[None]:
    """Around a check of scikit-learn: whoever catches outgrow's errors catches what it raises, too."""
    try:
        yield
    except OutgrowError:
        raise
    except ValueError as error:
        text = str(error)
        if any(words in text for words in _OTHER_COLUMNS):
            raise SchemaError(text) from error
        raise DataError(text) from error
    except TypeError as error:
        raise ValueTypeError(str(error)) from error
