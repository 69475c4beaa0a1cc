"""The exact interpreter: a Spec evaluated index by index.

It shares no line with the compiler or the transforms, so that it can judge both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction

import numpy as np

from attnverify.algebra.parameters import checked
from attnverify.errors import AttnverifyError, ParameterError, ShapeError
from attnverify.exact.arithmetic import fraction
from attnverify.exact.kept import Filling, Kept
from attnverify.exact.shapes import Array, as_array, kind_of, solve
from attnverify.exact.valuation import Valuation
from attnverify.spec import Spec

Number = int | float | Fraction


def evaluate(
    spec: Spec,
    arrays: Mapping[str, object],
    parameters: Mapping[str, Number] | None = None,
    *,
    precision: int = 50,
    rational: bool = False,
    names: Iterable[str] | None = None,
    sizes: Mapping[str, int] | None = None,
    kept: Kept | None = None,
) -> dict[str, Array]:
    """The outputs of a spec, or the tensors in `names`, as object arrays of exact numbers.

    `arrays` gives each input in the spec's own axis order, NumPy or nested lists; floats are
    taken exactly.  A product axis is one axis of the array, and `sizes` is needed only where its
    factors do not follow.  Values are mpmath numbers of `precision` decimal digits; with
    `rational=True` they are fractions, and what is irrational raises.
    log 0 is -inf, the inverse of 0 is 0, and a softmax row that sees no key is 0.
    With `kept`, an equation that an earlier call computed of the same numbers is not computed anew.
    Raises ShapeError for arrays that disagree, ParameterError for a missing or wrong parameter.

    >>> from attnverify import load
    >>> ones = {"Q": [[[[1.0]]]], "K": [[[[1.0], [1.0]]]], "V": [[[[2.0], [4.0]]]]}
    >>> print(evaluate(load("global"), ones)["O"])
    [[[[mpf('3.0')]]]]
    """
    tables = _tables(spec, arrays)
    length = solve(spec.name, spec.inputs, tables, sizes or {}, spec.axes)
    given = _parameters(spec, parameters or {})
    valuation = Valuation(length, tables, given, precision, rational=rational)
    setting = (*sorted(length.items()), *sorted(given.items()), precision, rational)
    filling = Filling(valuation, tables, setting, Kept() if kept is None else kept)
    for statement in spec.equations:
        filling.fill(statement)
    wanted = spec.outputs if names is None else tuple(names)
    unknown = [name for name in wanted if name not in spec.heads]
    if unknown:
        raise AttnverifyError(
            "the spec has no such tensor",
            spec=spec.name,
            found=", ".join(unknown),
            due=", ".join(spec.heads),
        )
    return {name: valuation.array(name) for name in wanted}


def difference(
    spec: Spec,
    arrays: Mapping[str, object],
    directions: Mapping[str, object],
    parameters: Mapping[str, Number] | None = None,
    *,
    precision: int = 50,
    sizes: Mapping[str, int] | None = None,
) -> dict[str, Array]:
    """The derivative of each output along `directions`, by central differences at high precision.

    The step is 10^-(0.3 precision), so at 50 digits some 30 are right where the spec is smooth;
    at a kink (relu at 0, a tie of larger) the result is the mean of both one-sided slopes. An entry
    that is NaN on both sides is a constant that nobody knows: its derivative is 0.
    Raises ParameterError for a direction that is not a real input, ShapeError where its shape
    differs.
    """
    step = Fraction(1, 10 ** round(0.3 * precision))
    moved = {name: _moves(spec, name, arrays, values) for name, values in directions.items()}
    up, down = (
        evaluate(
            spec,
            {**arrays, **{name: base + sign * step * move for name, (base, move) in moved.items()}},
            parameters,
            precision=precision,
            sizes=sizes,
        )
        for sign in (1, -1)
    )
    # Arithmetic on arrays without axes gives bare numbers; asarray keeps them arrays.
    slopes = {
        name: np.asarray((up[name] - down[name]) * (1 / (2 * step)), dtype=object) for name in up
    }
    return {name: np.where(_nan(up[name]) & _nan(down[name]), 0, slopes[name]) for name in up}


def _nan(array: Array) -> Array:
    """Where entries are NaN, which alone differs from itself."""
    return np.asarray(array != array, dtype=bool)  # noqa: PLR0124  see above


def _tables(spec: Spec, arrays: Mapping[str, object]) -> dict[str, Array]:
    """The arrays of the inputs, names and kinds checked."""
    names = [head.tensor.name for head in spec.inputs]
    missing, extra = [n for n in names if n not in arrays], [n for n in arrays if n not in names]
    if missing or extra:
        raise ShapeError(
            "the arrays are not the inputs of the spec",
            spec=spec.name,
            found=", ".join(arrays) or "none",
            due=", ".join(names),
            missing=", ".join(missing),
            unknown=", ".join(extra),
        )
    tables = {name: as_array(name, arrays[name], spec.name) for name in names}
    for head in spec.inputs:
        _check_kind(spec, head.tensor.name, head.tensor.kind, tables[head.tensor.name])
    return tables


def _check_kind(spec: Spec, name: str, kind: str, array: Array) -> None:
    wrong = [value for value in array.ravel().tolist() if kind_of(value) != kind]
    # A whole number is a real one; nothing else changes its kind.
    wrong = [value for value in wrong if (kind_of(value), kind) != ("int", "real")]
    if wrong:
        raise ShapeError(
            "an array holds values of the wrong kind",
            spec=spec.name,
            array=name,
            found=f"{type(wrong[0]).__name__} {wrong[0]!r}",
            due=kind,
        )


def _parameters(spec: Spec, given: Mapping[str, Number]) -> dict[str, Number]:
    declared = {parameter.name: parameter for parameter in spec.parameters}
    unknown = [name for name in given if name not in declared]
    if unknown:
        raise ParameterError(
            "an unknown parameter",
            spec=spec.name,
            found=", ".join(unknown),
            due=", ".join(declared) or "this spec has none",
        )
    values: dict[str, Number] = dict(given)
    for parameter in spec.parameters:
        usual = parameter.default
        if usual is not None:
            values.setdefault(parameter.name, int(usual) if usual.denominator == 1 else usual)
    missing = [name for name in declared if name not in values]
    if missing:
        raise ParameterError(
            "a parameter is open",
            spec=spec.name,
            found=", ".join(missing),
            hint=f"give it a value: parameters={{'{missing[0]}': ...}}",
        )
    return {name: checked(declared[name], value, spec.name) for name, value in values.items()}


def _moves(
    spec: Spec, name: str, arrays: Mapping[str, object], values: object
) -> tuple[Array, Array]:
    """An input and its direction as arrays of fractions."""
    real = [head.tensor.name for head in spec.inputs if head.tensor.kind == "real"]
    if name not in real:
        raise ParameterError(
            "a direction belongs to a real input", spec=spec.name, found=name, due=", ".join(real)
        )
    base, move = as_array(name, arrays[name], spec.name), as_array(name, values, spec.name)
    if base.shape != move.shape:
        raise ShapeError(
            "a direction has another shape than its input",
            spec=spec.name,
            array=name,
            found=str(move.shape),
            due=str(base.shape),
        )
    return _fractions(base), _fractions(move)


def _fractions(array: Array) -> Array:
    result = np.empty(array.size, dtype=object)
    result[:] = [fraction(value) for value in array.ravel().tolist()]
    return result.reshape(array.shape)


__all__ = ["Kept", "Valuation", "difference", "evaluate"]
