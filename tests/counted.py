"""An array type that counts: compiled source runs on it, and every operation is told."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from types import FunctionType, SimpleNamespace
from typing import Any

import numpy as np

from attnverify.compile import compile  # noqa: A004  the fixed public name
from attnverify.compile.scalars import size_name
from attnverify.spec import Spec

TOLD: Counter[str] = Counter()
# What a universal function does at each place, by NumPy's and SciPy's names.
UFUNCS = {
    "add": "additions", "subtract": "additions", "negative": "additions",
    "multiply": "multiplications", "square": "multiplications", "divide": "divisions",
    "maximum": "selections", "absolute": "selections", "sign": "selections", "exp": "exp",
    "log": "log", "tanh": "tanh", "sin": "sin", "cos": "cos", "sqrt": "sqrt", "power": "power",
    "expit": "logistic", "exp2": "exp2",
}  # fmt: skip


def bare(value: Any) -> Any:
    """The plain array below a counting one, inside lists and tables too."""
    if isinstance(value, Counted):
        return value.view(np.ndarray)
    if isinstance(value, list | tuple):
        return type(value)(bare(part) for part in value)
    if isinstance(value, dict):
        return {name: bare(part) for name, part in value.items()}
    return value


def counting(value: Any) -> Any:
    """An array, or a number that an array became, as a counting one."""
    return np.asarray(value).view(Counted) if isinstance(value, np.ndarray | np.generic) else value


def real(value: Any) -> bool:
    """Whether a result is of real numbers: nothing else is counted."""
    return bool(np.asarray(value).dtype.kind == "f")


def tell(kind: str, number: int, result: Any) -> None:
    """Add operations of one kind, and the entries of their result."""
    TOLD[kind] += number
    TOLD["entries"] += np.size(result)


class Counted(np.ndarray[Any, Any]):
    """A NumPy array whose operations are counted in `TOLD`."""

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **settings: Any) -> Any:
        out = settings.pop("out", None)
        plain = {name: bare(part) for name, part in settings.items()}
        if out is not None:
            plain["out"] = tuple(bare(part) for part in out)
        result = getattr(ufunc, method)(*(bare(part) for part in inputs), **plain)
        if real(result):
            self._tell(ufunc.__name__, method, inputs, result)
        return out[0] if out is not None else counting(result)

    def _tell(self, name: str, method: str, inputs: tuple[Any, ...], result: Any) -> None:
        if name == "matmul":
            tell("multiply_adds", np.size(result) * np.shape(inputs[0])[-1], result)
        elif method == "reduce":
            tell(UFUNCS[name], np.size(inputs[0]), result)
        elif name == "multiply" and any(np.asarray(bare(i)).dtype.kind == "b" for i in inputs):
            tell("selections", np.size(result), result)
        else:
            tell(UFUNCS[name], np.size(result), result)

    def __array_function__(
        self, func: Callable[..., Any], types: Any, args: Iterable[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        args = tuple(args)
        result = func(*bare(args), **bare(dict(kwargs)))
        name = func.__name__
        if name == "copyto":
            tell("selections", np.size(args[0]), args[0])
        elif name == "where" and real(result):
            tell("selections", np.size(result), result)
        elif name in ("sum", "max") and real(result):
            tell("additions" if name == "sum" else "selections", np.size(args[0]), result)
        elif name == "einsum" and real(result):
            self._einsum(str(args[0]), args[1:], result)
        return counting(result)

    def _einsum(self, formula: str, operands: tuple[Any, ...], result: Any) -> None:
        terms, _, left = formula.partition("->")
        sizes: dict[str, int] = {}
        for term, operand in zip(terms.split(","), operands, strict=True):
            sizes.update(zip(term, np.shape(operand), strict=True))
        summed = len(operands) > 1 or set(terms) != set(left)
        tell("multiply_adds", math.prod(sizes.values()) if summed else 0, result)


def made(function: Callable[..., Any]) -> Callable[..., Any]:
    """A maker of arrays that makes counting ones; a number made of sizes is none."""

    def make(*args: Any, **kwargs: Any) -> Any:
        result = function(*bare(args), **bare(kwargs))
        return counting(result) if np.ndim(result) else result

    return make


def told(kind: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of the compiler's own that counts as one operation at each place of its result."""

    def call(*args: Any, **kwargs: Any) -> Any:
        result = function(*bare(args), **bare(kwargs))
        if isinstance(result, np.ndarray):
            tell(kind, np.size(result), result)
        return counting(result)

    return call


def counted(
    spec: Spec, arrays: Mapping[str, Any], sizes: Mapping[str, int], values: Mapping[str, Any]
) -> Counter[str]:
    """The operations of one run of a spec's compiled source, by kind."""
    oracle = compile(spec)
    names = dict(oracle._run.__globals__)
    makers = ("arange", "zeros", "array")
    names["np"] = SimpleNamespace(
        **{**vars(np), **{name: made(getattr(np, name)) for name in makers}}
    )
    names |= {"constant": made(np.array), "alibi_slope": made(names["alibi_slope"])}
    names |= {"erf": told("erf", names["erf"]), "t5_bucket": made(names["t5_bucket"])}
    names["threshold"] = told("threshold", names["threshold"])
    assert isinstance(oracle._run, FunctionType)
    run = FunctionType(oracle._run.__code__, names)
    TOLD.clear()
    with np.errstate(all="ignore"):
        run(
            **{name: counting(array) for name, array in oracle.arrays(arrays).items()},
            **{size_name(axis): sizes[axis] for axis in oracle.recipe.axes},
            **oracle._settings(values),
        )
    return Counter(TOLD)
