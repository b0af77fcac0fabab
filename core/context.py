"""What a long calculation may say to, and ask of, whoever runs it: a job, the command line, a notebook."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from core.errors import Cancelled


class Context:
    """Silent default. The job child and the command line override what they need."""

    #: folder that outlives a killed process and belongs to this run alone; None: no checkpoints are kept
    checkpoints: Path | None = None

    def progress(self, fraction: float, message: str, **numbers: float) -> None:
        """Say how far the work is. *fraction* in [0, 1]; *numbers* are plotted live (losses, by term)."""

    def preview(self, name: str, **arrays: np.ndarray) -> None:
        """Show an intermediate result, e.g. the SM coordinates of the best alignment so far. Called freely; whoever
        listens drops what comes too often."""

    def cancelled(self) -> bool:
        """Whether the person asked to stop. A step that has something worth keeping returns it; others call
        :meth:`stop_if_cancelled`."""
        return False

    def stop_if_cancelled(self) -> None:
        if self.cancelled():
            raise Cancelled


class Share(Context):
    """A part of another context's progress bar."""

    def __init__(self, context: Context, start: float, end: float, prefix: str = "") -> None:
        self._context, self._start, self._width, self._prefix = context, start, end - start, prefix
        self.checkpoints = context.checkpoints

    def progress(self, fraction: float, message: str, **numbers: float) -> None:
        self._context.progress(self._start + self._width * fraction, self._prefix + message, **numbers)

    def preview(self, name: str, **arrays: np.ndarray) -> None:
        self._context.preview(name, **arrays)

    def cancelled(self) -> bool:
        return self._context.cancelled()
