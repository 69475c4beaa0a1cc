"""What judging costs: a default check in seconds, one case against PyTorch's own gradcheck."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from tempfile import TemporaryDirectory
from typing import Any, TypedDict

import numpy as np

from benchmarks.peers import installed
from benchmarks.timing import interleaved

# Batch, heads, positions, channels of the case that gradcheck is given too.
CASE = {"batch": 1, "heads": 2, "queries": 32, "keys": 32, "key_dim": 16, "value_dim": 16}
SMALL = {"batch": 1, "heads": 1, "queries": 4, "keys": 4, "key_dim": 2, "value_dim": 2}
GRADCHECK = "gradcheck, slow mode"


class CheckRow(TypedDict):
    """Wall-clock and CPU seconds of one default `check`, forward and backward."""

    subject: str
    cases: int
    seconds: float
    cpu: float


class CaseRow(TypedDict):
    """Median seconds to compare all gradients of one case, and their ratio to gradcheck's."""

    job: str
    seconds: float
    ratio: float


def by_numpy(q: Any, k: Any, v: Any) -> Any:
    """The formula in NumPy."""
    return _weights(q, k) @ v


def _weights(q: Any, k: Any) -> Any:
    s = q @ k.swapaxes(-1, -2) / q.shape[-1] ** 0.5
    e = np.exp(s - s.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def numpy_vjp(do: Any, q: Any, k: Any, v: Any) -> tuple[Any, ...]:
    """Its gradient by hand."""
    a = _weights(q, k)
    da = do @ v.swapaxes(-1, -2)
    ds = a * (da - (a * da).sum(-1, keepdims=True)) / q.dtype.type(q.shape[-1] ** 0.5)
    return ds @ k, ds.swapaxes(-1, -2) @ q, a.swapaxes(-1, -2) @ do


def by_torch(q: Any, k: Any, v: Any) -> Any:
    """The formula in PyTorch."""
    return (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) @ v


def checks(*, quick: bool = False) -> list[CheckRow]:
    """A default check of a NumPy function with its VJP and of PyTorch's fused attention."""
    subjects: dict[str, tuple[Any, dict[str, Any]]] = {"NumPy": (by_numpy, {"vjp": numpy_vjp})}
    if installed("torch"):
        import torch

        fused = torch.nn.functional.scaled_dot_product_attention
        subjects["PyTorch"] = (fused, {"framework": "torch"})
    return [_checked(name, fn, how, 3 if quick else None) for name, (fn, how) in subjects.items()]


def _checked(name: str, fn: Any, how: Mapping[str, Any], cases: int | None) -> CheckRow:
    import attnverify as av

    with TemporaryDirectory() as store:
        wall, cpu = time.perf_counter(), time.process_time()
        report = av.check(fn, "global", store=store, cases=cases, **how)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    report.raise_if_refuted()
    return CheckRow(subject=name, cases=report.verdicts[0].cases or 0, seconds=wall, cpu=cpu)


def one_case(sizes: Mapping[str, int], seed: int = 0) -> dict[str, Callable[[], object]]:
    """Jobs that each compare O, dQ, dK and dV of one float64 case by PyTorch with what is due.

    The judge's whole work with the tolerance derived anew; the same under a tolerance that is
    there already; and gradcheck, which differs every output by every input.
    """
    import torch

    import attnverify as av
    from attnverify.check.judge import Judge
    from attnverify.compare import Due, require
    from attnverify.inputs import Draw
    from attnverify.rounding.bounds import arrays_for
    from attnverify.subjects import subject
    from attnverify.verdict import Status

    spec = av.load("global")
    case = Draw(spec, dtype="float64").case(sizes, seed=seed)
    asked = subject(by_torch, spec, framework="torch", dtype="float64")
    judge = Judge(spec, asked, "float64")
    arrays = {**case.arrays, **judge.seeds(case)}
    bounds = judge.whole.expected(arrays, case.parameters, case.seed, case.sizes).dues
    leaves = [torch.from_numpy(case.arrays[name]).requires_grad_() for name in "QKV"]

    def whole() -> None:
        found = judge.ask(case).verdicts.values()
        if any(verdict.status is not Status.HELD for verdict in found):
            raise AssertionError("a right function was not held")

    def without() -> None:
        oracle = judge.whole.oracle
        values = oracle(**arrays_for(oracle.dtype, arrays), sizes=case.sizes)
        outputs, gradients = asked.backward(case.arrays, case.cotangents, case.parameters)
        for name, got in {**outputs, **{f"d{n}": g for n, g in gradients.items()}}.items():
            require(name, got, Due(values[name], bounds[name].sigma, bounds[name].axes))

    def peer() -> None:
        torch.autograd.gradcheck(by_torch, leaves, fast_mode=False)

    return {"with the tolerance": whole, "without the tolerance": without, GRADCHECK: peer}


def measure_case(*, quick: bool = False) -> list[CaseRow]:
    """The jobs in turns; nothing where PyTorch is not installed."""
    if not installed("torch"):
        return []
    medians = interleaved(one_case(SMALL if quick else CASE), rounds=3 if quick else 5)
    return [
        CaseRow(job=job, seconds=taken, ratio=taken / medians[GRADCHECK])
        for job, taken in medians.items()
    ]
