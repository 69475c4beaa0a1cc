"""`python -m benchmarks.long [--tokens N]`: what judging a long sliding window costs the judge.

The subject, forward and backward, is `examples/numpy_window.py`: one head, 64 channels, float32.
Its own time is told apart, and its own memory by a run without the judge.
"""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import attnverify as av

EXAMPLE = Path(__file__).parents[1] / "examples" / "numpy_window.py"
CHANNELS, TOKENS = 64, 2**20


class Timed:
    """Calls of a function, with the seconds that they took by the clock and of the cores."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        self.fn, self.wall, self.cores, self.calls = fn, 0.0, 0.0, 0

    def __call__(self, *arrays: Any) -> Any:
        """One call."""
        wall, cores = time.perf_counter(), time.process_time()
        try:
            return self.fn(*arrays)
        finally:
            self.wall += time.perf_counter() - wall
            self.cores += time.process_time() - cores
            self.calls += 1


def example() -> Any:
    """The module of the example."""
    found = importlib.util.spec_from_file_location("numpy_window", EXAMPLE)
    if found is None or found.loader is None:
        raise SystemExit(f"no example at {EXAMPLE}")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def peak() -> float:
    """The most memory that this process has held, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def judged(tokens: int) -> dict[str, Any]:
    """What a whole check takes, and what of it the subject does."""
    subject = example()
    forward, backward = Timed(subject.attention), Timed(subject.pulled)
    sizes = {"queries": tokens, "keys": tokens, "key_dim": CHANNELS, "value_dim": CHANNELS}
    wall, cores = time.perf_counter(), time.process_time()
    report = av.check(
        forward, "sliding_window", vjp=backward, window=subject.WINDOW, sizes=sizes, rows=64
    )
    wall, cores = time.perf_counter() - wall, time.process_time() - cores
    own = {"wall": forward.wall + backward.wall, "cores": forward.cores + backward.cores}
    return {
        "ok": report.ok,
        "verdicts": [f"{v.status.value:9} {v.name}: {v.detail}" for v in report.verdicts],
        "judge wall s": wall - own["wall"],
        "judge cores s": cores - own["cores"],
        "subject wall s": own["wall"],
        "subject cores s": own["cores"],
        "calls": forward.calls + backward.calls,
        "peak GB": peak(),
    }


def alone(tokens: int) -> dict[str, Any]:
    """What the subject takes without a judge: one backward pass, its inputs and its results."""
    subject = example()
    rng = np.random.default_rng(0)
    shape = (1, 1, tokens, CHANNELS)
    arrays = [rng.standard_normal(shape, dtype=np.float32) for _ in range(4)]
    kept = subject.pulled(*arrays)
    return {"results": len(kept), "peak GB": peak()}


def main() -> None:
    """Print the figures of both runs, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=TOKENS)
    tokens = parser.parse_args().tokens
    context = multiprocessing.get_context("spawn")
    for run in (alone, judged):
        with context.Pool(1) as pool:
            found = pool.apply(run, (tokens,))
        print(f"{run.__name__}, {tokens:,} tokens")
        for name, value in found.items():
            lines = value if isinstance(value, list) else [f"{name}: {value}"]
            print(*(f"  {line}" for line in lines), sep="\n")


if __name__ == "__main__":
    main()
