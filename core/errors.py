"""The exceptions that this project raises on purpose.

Each carries one plain message in three parts: what was expected, what was found, how to mend it. The web turns any of
them into one alert, the command line into one line on standard error.
"""

from __future__ import annotations


class SpatialMetaError(Exception):
    """Base of all errors that a person can act on.

    Parameters
    ----------
    expected
        What the program needed, as the end of the sentence "Expected …".
    found
        What it met instead.
    mend
        What the person can do now.
    """

    def __init__(self, expected: str, *, found: str = "", mend: str = "") -> None:
        self.expected = expected
        self.found = found
        self.mend = mend
        super().__init__(self.message)

    @property
    def message(self) -> str:
        parts = [f"Expected {self.expected}."]
        if self.found:
            parts.append(f"Found {self.found}.")
        if self.mend:
            parts.append(self.mend)
        return " ".join(parts)

    def __reduce__(self):  # exceptions with keyword arguments do not pickle by themselves
        return _rebuild, (type(self), self.expected, self.found, self.mend)


def _rebuild(cls: type[SpatialMetaError], expected: str, found: str, mend: str) -> SpatialMetaError:
    return cls(expected, found=found, mend=mend)


class UntrustedFileError(SpatialMetaError):
    """An uploaded file tries to reach outside itself, lies about its size, or is damaged."""


class FormatError(SpatialMetaError):
    """A file is not in a format, or not in the layout of the format, that can be read."""


class DataError(SpatialMetaError):
    """The values in a file or an object can not be worked with (NaN, negative counts, no coordinates …)."""


class ConfigError(SpatialMetaError):
    """A setting is unknown, of the wrong type, or out of its range."""


class NotConvergedError(SpatialMetaError):
    """An optimisation left the numbers it can work with (NaN loss) or found nothing to work on."""


class StorageError(SpatialMetaError):
    """Writing failed (disk full, no permission). What was there before is untouched."""


class Cancelled(Exception):  # noqa: N818  a request, not an error
    """The person asked the running step to stop."""
