"""Work that is split among threads."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

Work = Callable[[int, int], None]
Share = Callable[[Work], None]  # calls what it is given with (0, parts), ..., (parts - 1, parts), and waits for all


def alone(work: Work) -> None:
    work(0, 1)


def slice_of(n: int, part: int, parts: int) -> slice:
    """Which of *n* things are this part's."""
    return slice(part * n // parts, (part + 1) * n // parts)


class Threads:
    """A :data:`Share` of as many threads as torch uses, *at_most* so many; used within ``with``.

    Torch uses no threads of its own meanwhile: those of a product wait for each other at its end, and spin.
    """

    def __init__(self, at_most: int) -> None:
        self._at_most = max(1, at_most)
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> Threads:
        self._before = torch.get_num_threads()
        self.parts = min(self._before, self._at_most)
        torch.set_num_threads(1)
        if self.parts > 1:  # OpenMP has a number of threads for each thread
            settle = {"initializer": torch.set_num_threads, "initargs": (1,)}
            self._pool = ThreadPoolExecutor(self.parts - 1, "step", **settle)
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown()
        torch.set_num_threads(self._before)

    def __call__(self, work: Work) -> None:
        others = [self._pool.submit(work, k, self.parts) for k in range(1, self.parts)]
        work(0, self.parts)
        for other in others:
            other.result()
