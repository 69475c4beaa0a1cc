"""The compiled spec checks arrays and parameters, runs the printed source, names the outputs."""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnverify.algebra.parameters import checked
from attnverify.algebra.terms import Parameter
from attnverify.compile import special, tables, thresholds
from attnverify.compile.libraries import LIBRARIES, Library, library
from attnverify.compile.lower import lower
from attnverify.compile.nonfinite import spread
from attnverify.compile.recipe import Recipe, label_axis
from attnverify.compile.scalars import size_name
from attnverify.compile.sizes import bind
from attnverify.compile.source import Printer, identifier
from attnverify.compile.stack import stacked
from attnverify.compile.streamed import Plan, Stream, parameters_of, plan
from attnverify.errors import ParameterError, ShapeError, SpecError
from attnverify.spec import Spec

Array = NDArray[Any]
BACKENDS = ("numpy", "autograd", *LIBRARIES)
DTYPES = ("float32", "float64", "longdouble")


# Bytes of the largest array that is computed as a whole.
BUDGET = 2**24


def printer(backend: str) -> Printer:
    """What prints source for a backend: autograd keeps every array and traces each operation."""
    return Printer(reuse=backend == "numpy", traced=backend != "numpy")


class Oracle:
    """A callable from arrays by name to outputs by name.

    Arrays have the spec's own axis order; parameters that the spec leaves open are further
    keywords. `source` is the text that runs, `recipe` the operations that it was printed from.
    """

    def __init__(
        self, spec: Spec, backend: str, dtype: str, budget: int = BUDGET, device: str = ""
    ) -> None:
        self.budget, self.library = budget, library(backend, dtype, device)
        self.spec, self.backend, self.dtype = spec, backend, np.dtype(dtype)
        self.recipe: Recipe = lower(spec)
        self.source = printer(backend).function(self.recipe)
        self._run = _function(self.source, identifier(spec.name), backend, self.dtype, self.library)
        self._loops = any(op.kind == "loop" for op in self.recipe.ops)
        self._parameters = {parameter.name: parameter for parameter in spec.parameters}

    # Any, so that a table of arrays of one type may be handed over as keywords.
    def __call__(self, *, sizes: Any = None, **values: Any) -> dict[str, Any]:
        """The outputs for these arrays and parameters.

        `sizes`, a table by axis, is needed only where the factors of a product axis do not follow
        from the arrays.
        Raises ShapeError where arrays do not fit the spec, ParameterError for a missing or wrong
        parameter.
        """
        settings = self._settings({k: v for k, v in values.items() if k in self._parameters})
        if self.library is not None:
            return self._elsewhere(self.library, values, sizes, settings)
        arrays = self.arrays({k: v for k, v in values.items() if k not in self._parameters})
        shapes = {name: np.shape(array) for name, array in arrays.items()}
        sizes = bind(self.spec, shapes, sizes)
        if self.backend == "autograd":
            return self._call(arrays, sizes, settings)
        with np.errstate(all="ignore"):
            spoiled = [n for n, a in arrays.items() if a.dtype.kind == "f" and not _finite(a)]
            if not spoiled and self.streams(sizes):
                return self._streamed(arrays, sizes, settings)
            if (
                not spoiled or self._loops
            ):  # a recurrence selects nothing: what IEEE arithmetic gives is right
                return self._call(arrays, sizes, settings)
            clean = {
                n: np.where(np.isfinite(a), a, 0) if n in spoiled else a for n, a in arrays.items()
            }
            results = self._call(clean, sizes, settings)
            return spread(self.recipe, arrays, results, sizes, settings)

    def _elsewhere(
        self, library: Library, values: Mapping[str, Any], sizes: Any, settings: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The outputs by another library's arrays, which lie where it computes."""
        with library.scope():
            arrays = self.arrays({k: v for k, v in values.items() if k not in self._parameters})
            spoiled = [n for n, a in arrays.items() if not library.finite(a)]
            if spoiled:
                raise ParameterError(
                    "only the NumPy backend says what becomes of NaN and infinity",
                    spec=self.spec.name,
                    found=", ".join(spoiled),
                    hint='compile(spec, backend="numpy")',
                )
            shapes = {name: tuple(array.shape) for name, array in arrays.items()}
            return self._call(arrays, bind(self.spec, shapes, sizes), settings)

    def streams(self, sizes: Mapping[str, int]) -> bool:
        """Whether arrays of these sizes are computed in blocks: the largest passes the budget."""
        if self.backend != "numpy" or self._widest(sizes) * self.dtype.itemsize <= self.budget:
            return False
        return not self.undivided

    @property
    def undivided(self) -> str:
        """Why the spec is never computed in blocks; empty where it can be."""
        return self._parts if isinstance(self._parts, str) else ""

    @cached_property
    def _parts(self) -> tuple[Plan, Callable[..., dict[str, Any]]] | str:
        """How the spec is computed in blocks, and the program of a block; or why it is not."""
        try:
            found = plan(self.spec)
        except SpecError as error:
            return error.sentence()
        source = printer("numpy").function(found.recipe)
        return found, _function(source, identifier(self.spec.name), "numpy", self.dtype)

    def _widest(self, sizes: Mapping[str, int]) -> int:
        """The entries of the largest array that computing takes."""
        return max(math.prod(sizes[label_axis(x)] for x in op.labels) for op in self.recipe.ops)

    def _streamed(
        self,
        arrays: Mapping[str, Any],
        sizes: Mapping[str, int],
        settings: Mapping[str, Any],
        **blocks: Any,
    ) -> dict[str, Any]:
        """The outputs in blocks of rows; `blocks` are sizes of a Stream."""
        if isinstance(self._parts, str):
            raise SpecError(self._parts)
        found, function = self._parts
        chosen = {**settings, **parameters_of(sizes)}

        def run(part: Mapping[str, Any], sized: Mapping[str, int]) -> dict[str, Any]:
            named = {size_name(axis): sized[axis] for axis in found.recipe.axes}
            return function(**part, **named, **chosen)

        return Stream(found, run, arrays, sizes, chosen, self.dtype, **blocks).results()

    def _call(
        self, arrays: Mapping[str, Any], sizes: Mapping[str, int], settings: Mapping[str, Any]
    ) -> dict[str, Any]:
        sized = {size_name(axis): sizes[axis] for axis in self.recipe.axes}
        result: dict[str, Any] = self._run(**arrays, **sized, **settings)
        return result

    def arrays(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The input arrays in the working dtype, every name checked."""
        due = {entry.tensor.name: entry.tensor.kind for entry in self.spec.inputs}
        if given.keys() != due.keys():
            missing = [name for name in due if name not in given]
            extra = [name for name in given if name not in due]
            raise ShapeError(
                "the oracle was called with other inputs than the spec has",
                spec=self.spec.name,
                found=f"missing {_listed(missing)}; unknown {_listed(extra)}",
                due=", ".join([*due, *self._parameters]),
            )
        return {name: self._array(name, given[name], kind) for name, kind in due.items()}

    def _array(self, name: str, value: Any, kind: str) -> Any:
        if self.backend == "autograd" and kind == "real":
            return value
        if self.library is not None:
            return self._lifted(self.library, name, value, kind)
        array = np.asarray(value)
        if kind == "real":
            if array.dtype.kind not in "fiub" and array.dtype.name not in _SMALL_FLOATS:
                raise ShapeError(
                    "an input is not an array of real numbers",
                    spec=self.spec.name,
                    found=f"{name} of dtype {array.dtype}",
                )
            return array.astype(self.dtype, copy=False)
        due = "b" if kind == "bool" else "iu"
        if array.dtype.kind not in due:
            raise ShapeError(
                f"an input is not of kind {kind}",
                spec=self.spec.name,
                found=f"{name} of dtype {array.dtype}",
            )
        return array

    def _lifted(self, library: Library, name: str, value: Any, kind: str) -> Any:
        found, due = library.kind_of(value), {"real": "fiu", "bool": "b"}.get(kind, "iu")
        if found not in due:
            raise ShapeError(
                f"an input is not of kind {kind}",
                spec=self.spec.name,
                found=f"{name} of kind {found}",
            )
        return library.lifted(value, kind)

    def _settings(self, given: Mapping[str, Any]) -> dict[str, Any]:
        missing = [name for name in self._parameters if name not in given]
        if missing:
            raise ParameterError(
                "a parameter is left open",
                spec=self.spec.name,
                found="",
                due=", ".join(missing),
                hint=f"call oracle(..., {missing[0]}=...)",
            )
        return {
            name: self._number(self._parameters[name], _plain(value))
            for name, value in given.items()
        }

    def _number(self, parameter: Parameter, value: Any) -> Any:
        """A parameter's value: an integer, or a number of the working precision."""
        number = checked(parameter, value, self.spec.name)
        real = float(number) if isinstance(number, int) else number
        return number if parameter.integer else _working(real, self.dtype)


def _working(number: float | Fraction, dtype: np.dtype[Any]) -> Any:
    """An integer as it is, any other number in the working precision."""
    if isinstance(number, Fraction):
        return dtype.type(number.numerator) / dtype.type(number.denominator)
    # A float means the decimal that it prints as, in every precision.
    return number if isinstance(number, int) else dtype.type(repr(number))


_SMALL_FLOATS = ("bfloat16", "float8_e4m3fn", "float8_e5m2")


def compile(  # noqa: A001  the fixed public name
    spec: Spec,
    backend: str = "numpy",
    dtype: str = "float64",
    budget: int = BUDGET,
    device: str = "",
) -> Oracle:
    """Compile a spec to a callable on arrays.

    Where an intermediate array would take more than `budget` bytes, NumPy computes in blocks of
    queries with the keys that they see, if the spec allows it (`undivided` says why not).

    `backend` is `numpy`, `autograd` (the same recipe on autograd.numpy, to be differentiated by
    it), `torch` or `jax`, which take and give their own arrays on a `device` of theirs; `dtype` is
    the floating type of the computation. Raises ParameterError for another backend, dtype or
    device, MissingExtraError where a library is not installed.

    >>> import numpy as np
    >>> from attnverify import load
    >>> oracle = compile(load("global"))
    >>> x = np.ones((1, 1, 2, 3))
    >>> oracle(Q=x, K=x, V=x)["O"].shape
    (1, 1, 2, 3)
    """
    if not isinstance(spec, Spec):
        raise ParameterError(
            "compile takes a Spec", found=type(spec).__name__, hint="use attnverify.load(name)"
        )
    if backend not in BACKENDS:
        raise ParameterError("an unknown backend", found=repr(backend), due=", ".join(BACKENDS))
    if device and backend not in LIBRARIES:
        raise ParameterError(
            f"the {backend} backend computes on the CPU", found=device, due='backend="torch"'
        )
    if dtype not in DTYPES or (backend in LIBRARIES and dtype == "longdouble"):
        raise ParameterError(
            "an unknown working dtype",
            found=repr(dtype),
            due="'float64', 'float32' or 'longdouble'",
        )
    return Oracle(spec, backend, dtype, budget, device)


def stack(
    spec: Spec,
    backend: str = "numpy",
    dtype: str = "float64",
    over: Collection[str] | None = None,
) -> Stack:
    """A spec compiled over many draws at once: arrays and outputs have the draws as first axis.

    With `over`, only the inputs named have draws, and what does not depend on them is computed
    once for all.

    >>> import numpy as np
    >>> from attnverify import load
    >>> stack_of = stack(load("global"))
    >>> x = np.ones((5, 1, 1, 2, 3))
    >>> sizes = {"batch": 1, "heads": 1, "queries": 2, "keys": 2, "key_dim": 3, "value_dim": 3}
    >>> stack_of({"Q": x, "K": x, "V": x}, sizes, {})["O"].shape
    (5, 1, 1, 2, 3)
    """
    recipe = stacked(lower(spec), over)
    source = printer(backend).function(recipe)
    working = np.dtype(dtype)
    return Stack(recipe, working, _function(source, identifier(spec.name), backend, working))


@dataclass(frozen=True)
class Stack:
    """A callable from arrays with many draws, sizes and parameters to outputs with as many."""

    recipe: Recipe
    dtype: np.dtype[Any]
    function: Callable[..., dict[str, Any]]

    def __call__(
        self, arrays: Mapping[str, Any], sizes: Mapping[str, int], parameters: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The outputs; arrays are taken as they are, of the working type."""
        mark = f"draw@{self.recipe.axes[-1]}"
        first = next(name for name, places in self.recipe.inputs if (mark,) in places)
        draws = np.shape(arrays[first])[0]
        whole = {**sizes, self.recipe.axes[-1]: draws}
        sized = {size_name(axis): whole[axis] for axis in self.recipe.axes}
        settings = {name: _working(value, self.dtype) for name, value in parameters.items()}
        with np.errstate(all="ignore"):
            return self.function(**arrays, **sized, **settings)


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "none"


def _plain(value: Any) -> Any:
    """A NumPy number as Python's own."""
    return value.item() if isinstance(value, np.generic) else value


def _finite(array: Array) -> bool:
    """Whether all entries are finite; the quick test may doubt, never miss."""
    flat = array.ravel(order="K")
    return math.isfinite(float(np.dot(flat, flat))) or bool(np.isfinite(array).all())


def _inverse(x: Any) -> Any:
    """1/x, and 0 where x is 0."""
    return np.divide(1, x, out=np.zeros_like(x), where=x != 0)


def _function(
    source: str,
    name: str,
    backend: str,
    dtype: np.dtype[Any],
    library: Library | None = None,
) -> Callable[..., Any]:
    """The function that a source text defines, with the names it uses."""
    # A constant is a copy: results may be written over what it was read from.
    names: dict[str, Any] = {"real": dtype.type, "constant": np.array}
    names["threshold"] = thresholds.begin
    names |= {"alibi_slope": tables.alibi_slope, "t5_bucket": tables.t5_bucket}
    if library is not None:
        names |= library.names()
    elif backend == "numpy":
        names |= {"np": np, "inverse": _inverse, "expit": special.expit, "erf": special.erf}
    else:
        from attnverify.compile import traced  # noqa: PLC0415  autograd loads where it is asked for

        names |= traced.NAMES
    # The text is printed by this package from a checked recipe; nothing of it comes from outside.
    exec(builtins.compile(source, f"<attnverify {name}>", "exec"), names)  # noqa: S102  see above
    function: Callable[..., Any] = names[name]
    return function
