"""Run the benchmarks named on the command line, or all of them, and print what each measured. Options that follow the
names are for those benchmarks: `python -m benchmarks integration --seeds 2`."""

from __future__ import annotations

import importlib
import pkgutil
import sys

import benchmarks

#: what others are built of
HIDDEN = {"__main__", "peers", "pairs", "joint_samples", "scores", "timing", "integration_child", "limit"}


def main(words: list[str]) -> int:
    first_option = next((k for k, word in enumerate(words) if word.startswith("-")), len(words))
    names, settings = words[:first_option], words[first_option:]
    known = [m.name for m in pkgutil.iter_modules(benchmarks.__path__) if m.name not in HIDDEN]
    unknown = sorted(set(names) - set(known))
    if unknown:
        print(f"Expected some of {', '.join(known)}. Found {', '.join(unknown)}.", file=sys.stderr)
        return 2
    for name in names or known:
        print(f"\n== {name}", flush=True)
        run = importlib.import_module(f"benchmarks.{name}").main
        run(settings) if settings else run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
