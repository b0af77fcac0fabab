"""Progress on a terminal, and answers for people or machines."""

from __future__ import annotations

import json
import shutil
import sys
import time
from typing import Any, TextIO

from core.context import Context

#: seconds between two drawings of the bar
INTERVAL_S = 0.1
BAR = 24


class TerminalContext(Context):
    """Draws one line of progress on *stream* when it is a terminal, and nothing otherwise.

    ``start`` and ``share`` say which part of the whole work this context's 0 to 1 is.
    """

    def __init__(self, title: str, *, quiet: bool = False, stream: TextIO | None = None) -> None:
        self.title = title
        self.stream = sys.stderr if stream is None else stream
        self.shown = not quiet and self.stream.isatty()
        self.start, self.share = 0.0, 1.0
        self._drawn_at, self._open = 0.0, False

    def part(self, title: str, start: float, share: float) -> TerminalContext:
        """Go on with the part of the work from *start* to *start* + *share*."""
        self.title, self.start, self.share = title, start, share
        return self

    def progress(self, fraction: float, message: str, **numbers: float) -> None:
        now = time.monotonic()
        whole = self.start + self.share * min(max(fraction, 0.0), 1.0)
        if not self.shown or (now - self._drawn_at < INTERVAL_S and whole < 1.0):
            return
        self._drawn_at, self._open = now, True
        filled = round(BAR * whole)
        values = "  ".join(f"{name} {value:.4g}" for name, value in list(numbers.items())[:3])
        line = f"{self.title:<10} [{'#' * filled}{'.' * (BAR - filled)}] {whole:4.0%}  {message}  {values}"
        self.stream.write("\r\x1b[K" + line[: shutil.get_terminal_size().columns - 1])
        self.stream.flush()

    def close(self) -> None:
        """End the line, so that what comes next starts on its own."""
        if self._open:
            self.stream.write("\n")
            self._open = False


def answer(given: Any, sentence: str, **facts: Any) -> None:
    """Print *sentence*, or with ``--json`` the *facts* as one JSON object."""
    print(json.dumps(facts, default=str, ensure_ascii=False) if given.json else sentence)


def warn(text: str) -> None:
    """One line on standard error."""
    print("warning: " + " ".join(text.split()), file=sys.stderr)
