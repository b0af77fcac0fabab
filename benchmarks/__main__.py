"""Run the benchmarks named on the command line, or all of them, and print what each measured."""

from __future__ import annotations

import importlib
import pkgutil
import sys

import benchmarks

HIDDEN = {"__main__", "peers"}


def main(names: list[str]) -> int:
    known = [m.name for m in pkgutil.iter_modules(benchmarks.__path__) if m.name not in HIDDEN]
    unknown = sorted(set(names) - set(known))
    if unknown:
        print(f"Expected some of {', '.join(known)}. Found {', '.join(unknown)}.", file=sys.stderr)
        return 2
    for name in names or known:
        print(f"\n== {name}", flush=True)
        importlib.import_module(f"benchmarks.{name}").main()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
