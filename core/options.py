"""Settings of the steps: frozen dataclasses whose fields carry their meaning.

One field feeds the form of a page, the ``--help`` of the command line, the check of its range, and the record in
``uns['spatialmeta']['history']``; so each default stands once, in the dataclass.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from dataclasses import dataclass
from typing import Any, TypeVar

from core.errors import ConfigError

C = TypeVar("C")


@dataclass(frozen=True)
class Option:
    """A field of a Config as forms and the command line need it."""

    name: str
    label: str  # what a form calls it
    type: type  # int, float, str or bool
    optional: bool  # None is a value
    default: Any
    help: str
    unit: str
    minimum: float | None
    maximum: float | None
    choices: tuple[str, ...] | None
    advanced: bool

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")


def option(
    default: Any,
    help: str,
    *,
    unit: str = "",
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] | None = None,
    advanced: bool = False,
    label: str = "",
) -> Any:
    """A dataclass field with its one-line meaning, unit and range; *label* where its name reads badly in a form."""
    metadata = {
        "help": help,
        "unit": unit,
        "minimum": minimum,
        "maximum": maximum,
        "choices": choices,
        "advanced": advanced,
        "label": label,
    }
    return dataclasses.field(default=default, metadata=metadata)


def options(config: type) -> list[Option]:
    """The fields of a Config class, in order."""
    hints = typing.get_type_hints(config)
    found = []
    for field in dataclasses.fields(config):
        base, optional = _split_optional(hints[field.name])
        metadata = dict(field.metadata)
        metadata["label"] = metadata["label"] or field.name.replace("_", " ").capitalize()
        found.append(Option(name=field.name, type=base, optional=optional, default=field.default, **metadata))
    return found


def from_mapping(config: type[C], values: dict[str, Any]) -> C:
    """Build a Config from form values or JSON; unknown names, wrong types and ranges raise ConfigError."""
    known = {o.name: o for o in options(config)}
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ConfigError(
            f"settings of {config.__name__}", found=", ".join(unknown), mend=f"Known are: {', '.join(known)}."
        )
    return config(**{name: _coerce(known[name], value) for name, value in values.items()})


def check(config: C) -> C:
    """Raise ConfigError where a value of *config* is out of its range; return it otherwise."""
    return from_mapping(type(config), dataclasses.asdict(config))


def _split_optional(hint: Any) -> tuple[type, bool]:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        parts = [p for p in typing.get_args(hint) if p is not type(None)]
        return parts[0], True
    return hint, False


def _coerce(option: Option, value: Any) -> Any:
    if value is None or (value == "" and option.type is not str):
        if option.optional:
            return None
        raise _refusal(option, value)
    try:
        value = _cast(option.type, value)
    except (TypeError, ValueError, KeyError, OverflowError):
        raise _refusal(option, value) from None
    too_small = option.minimum is not None and value < option.minimum
    too_large = option.maximum is not None and value > option.maximum
    if too_small or too_large or (option.choices and value not in option.choices):
        raise _refusal(option, value)
    return value


def _cast(kind: type, value: Any) -> Any:
    if kind is bool:
        if isinstance(value, bool):
            return value
        return {"true": True, "false": False, "1": True, "0": False}[str(value).lower()]
    if kind is int and float(value) != int(float(value)):
        raise ValueError
    if kind is int:
        return int(float(value))
    value = kind(value)
    if kind is float and not math.isfinite(value):
        raise ValueError
    return value


def _refusal(option: Option, value: Any) -> ConfigError:
    if option.choices:
        wanted = "one of " + ", ".join(option.choices)
    else:
        bounds = [
            f"at least {option.minimum:g}" if option.minimum is not None else "",
            f"at most {option.maximum:g}" if option.maximum is not None else "",
        ]
        noun = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}[option.type]
        wanted = " ".join([noun, " and ".join(b for b in bounds if b)]).strip()
    return ConfigError(f"{option.name} to be {wanted}", found=repr(value))
