"""Flags from Config dataclasses and back: each default stands once, in the dataclass."""

from __future__ import annotations

import argparse
import dataclasses
import shlex
from typing import Any

from core.options import Option, from_mapping, options
from core.pipeline import STEPS

#: what a flag's value is called in --help
METAVAR = {int: "N", float: "X", str: "TEXT"}


@dataclasses.dataclass(frozen=True)
class Settings:
    """The settings of one Config on a command line.

    ``prefix`` stands before the names of ``prefixed`` options, so that several steps fit on one line; ``seed`` is never
    prefixed: one seed serves all steps.
    """

    config: type
    prefix: str = ""
    prefixed: frozenset[str] = frozenset()

    def flag(self, option: Option) -> str:
        return f"--{self.prefix}-{option.flag[2:]}" if option.name in self.prefixed else option.flag

    def destination(self, option: Option) -> str:
        return "option_" + self.flag(option)[2:].replace("-", "_")

    def add_to(self, parser: argparse.ArgumentParser, title: str, seen: set[str] | None = None) -> None:
        """Add one flag per option; options marked advanced come in a group of their own."""
        groups = {
            advanced: parser.add_argument_group(f"{title}, advanced" if advanced else title)
            for advanced in sorted({o.advanced for o in options(self.config)})
        }
        seen = set() if seen is None else seen
        for option in options(self.config):
            flag = self.flag(option)
            if flag not in seen:
                seen.add(flag)
                _add(groups[option.advanced], option, flag, self.destination(option))
        if "--seed" not in seen and not self.prefix:
            # scripts give one seed to every step
            parser.add_argument("--seed", metavar="N", help="accepted and not used: nothing in this step is random")

    def read(self, given: argparse.Namespace) -> Any:
        """The Config from what was given; ConfigError for values out of range."""
        values = {o.name: getattr(given, self.destination(o)) for o in options(self.config) if self._has(given, o)}
        return from_mapping(self.config, values)

    def _has(self, given: argparse.Namespace, option: Option) -> bool:
        return hasattr(given, self.destination(option))


def settings_of_all_steps() -> dict[str, Settings]:
    """Settings for a command that runs every step: names that several steps share are prefixed by the step's."""
    names = [o.name for step in STEPS.values() for o in options(step.Config)]
    shared = frozenset(name for name in names if names.count(name) > 1) - {"seed"}
    return {name: Settings(step.Config, prefix=name, prefixed=shared) for name, step in STEPS.items()}


def flags_of(config: Any) -> list[str]:
    """The flags that give *config* to its command; what has its default is left out."""
    settings, found = Settings(type(config)), []
    for option in options(type(config)):
        value = getattr(config, option.name)
        if value == option.default:
            continue
        flag = settings.flag(option)
        if option.type is bool:
            found.append(flag if value else f"--no-{flag[2:]}")
        else:
            found.append(f"{flag}={'' if value is None else value}")
    return found


def command_line(step: str, config: Any) -> str:
    """The command that repeats *step* with *config*, with capital words where the files go."""
    files = {"st": ["--st", "ST"], "sm": ["--sm", "SM"], "joint": ["JOINT"]}
    inputs = [word for name in STEPS[step].inputs for word in files[name]]
    return " ".join(["python -m core", step, *inputs, "--out", "OUT.h5ad", *map(shlex.quote, flags_of(config))])


def _add(group: argparse._ArgumentGroup, option: Option, flag: str, destination: str) -> None:
    described = f"{option.help} ({_range(option)})".replace("%", "%%")
    common = {"dest": destination, "default": argparse.SUPPRESS, "help": described}
    if option.type is bool:
        group.add_argument(flag, action=argparse.BooleanOptionalAction, **common)
    else:
        metavar = "{" + ",".join(option.choices) + "}" if option.choices else METAVAR[option.type]
        group.add_argument(flag, metavar=metavar, **common)


def _range(option: Option) -> str:
    """'default 5 pixels, 1 to 1000' of an option."""
    words = {None: "none", "": "none", True: "yes", False: "no"}
    default = option.default
    shown = words[default] if isinstance(default, bool) or default in (None, "") else default
    text = f"default {shown} {option.unit}".strip()
    if option.minimum is not None and option.maximum is not None:
        return f"{text}; {option.minimum:g} to {option.maximum:g}"
    if option.minimum is not None:
        return f"{text}; at least {option.minimum:g}"
    return f"{text}; at most {option.maximum:g}" if option.maximum is not None else text
