"""The values of a form become a Config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from core.options import from_mapping, options

C = TypeVar("C")


def config(kind: type[C], ids: Sequence[Mapping[str, str]], values: Sequence[Any], **given: Any) -> C:
    """Build *kind* from the two lists that :func:`components.form.states` brings.

    Options that the form does not have keep their default; *given* are set besides, and win. A value out of its range
    raises ConfigError, which the page shows as one alert.
    """
    found = {id["option"]: value for id, value in zip(ids, values, strict=True)}
    return from_mapping(kind, {**_emptied(kind, found), **given})


def _emptied(kind: type, found: Mapping[str, Any]) -> dict[str, Any]:
    """An emptied text field of an option that may be None means None, not ''."""
    optional = {o.name for o in options(kind) if o.optional}
    return {name: None if value == "" and name in optional else value for name, value in found.items()}
