"""What the benchmarks of the web application share: a request, and the median time of a call."""

from __future__ import annotations

import statistics
import time
import urllib.request
from collections.abc import Callable


def ask(url: str, method: str = "GET", body: bytes | None = None) -> bytes:
    """The body of an answer."""
    headers = {"X-SpatialMETA": "1", "Content-Type": "application/json"} if body else {}
    with urllib.request.urlopen(urllib.request.Request(url, data=body, method=method, headers=headers)) as answer:
        return answer.read()


def median_s(call: Callable[[], object], repeats: int) -> float:
    """Median wall time of *call*, in seconds."""

    def timed() -> float:
        start = time.perf_counter()
        call()
        return time.perf_counter() - start

    return statistics.median(timed() for _ in range(repeats))
