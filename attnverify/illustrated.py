"""What a page shows of a spec besides its verdicts: cost, gradient flow, errors, known bugs.

All of it is measured or derived here and put into the section as data, so that a page need see
nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sympy import Expr, Symbol, gcd_terms, latex

from attnverify.compare import WIDTHS, Due
from attnverify.compile import compile  # noqa: A004  the fixed public name
from attnverify.errors import AttnverifyError
from attnverify.flow.cost import cost, printed
from attnverify.flow.initial import Start
from attnverify.flow.jacobian import Profile, profile
from attnverify.flow.report import network
from attnverify.inputs import Draw
from attnverify.lattice import edges
from attnverify.library import load
from attnverify.pictured import plain_parameters
from attnverify.rounding import Rounding
from attnverify.spec import Spec
from attnverify.transforms.mutate import Operator, operators
from attnverify.transforms.mutate.operator import computed
from attnverify.transforms.naming import name_softmaxes
from attnverify.verdict import Section
from attnverify.verdict.figure import Curve, Figure, Scale

Array = NDArray[Any]
# The network that gradients are carried back through, beside every other.
RECURRENT = "elman"
LENGTH, WIDTH, DRAWS = 16, 4, 5
# Sizes and entries of the case whose errors are shown, and the runs that its bound comes from.
SIZE, ENTRIES, RUNS = 6, 2000, 16
# What every member of a family has: its cost.
LEAST = 1
# Points of an output that are kept, and of those nearest to their bound.
POINTS, NEAREST = 100, 20
DTYPE = "float32"


def illustrated(section: Section, spec: Spec, *, whole: bool = True) -> Section:
    """The section of a spec with what a page shows of it.

    Its cost as polynomials and, with `whole`, the specs that it becomes, the norm of its Jacobian
    by distance beside a recurrent network's, the errors of its own float32 program beside their
    bounds, and the public bugs that code for it can have. What a spec has not is left out.

    >>> found = illustrated(Section("causal"), load("causal"), whole=False)
    >>> found.figures["cost"][0]["text"]
    'n_b*n_h*n_k*n_q*(d_k + d_v)'
    """
    makers = (
        ("cost", _cost), ("becomes", _becomes), ("flow", _flow), ("errors", _errors),
        ("bugs", _bugs),
    )  # fmt: skip
    figures: dict[str, Any] = dict(section.figures)
    for name, maker in makers if whole else makers[:LEAST]:
        try:
            made = maker(spec)
        except AttnverifyError:
            # A spec without a sequence has no distance; a picture is worth no failure.
            continue
        if made:
            figures[name] = made
    return replace(section, figures=figures)


def _cost(spec: Spec) -> list[dict[str, str]]:
    """Operations and entries of one run, as polynomials in the sizes, what they share in front."""
    table = cost(spec).table()
    counts = {name: gcd_terms(printed(count)) for name, count in table.items() if count != 0}
    return [
        {"name": name, "text": str(count), "latex": latex(count, symbol_names=_upright(count))}
        for name, count in counts.items()
    ]


def _upright(count: Expr) -> dict[Symbol, str]:
    """Sizes that have words for names, as LaTeX sets words."""
    words = {symbol: symbol.name for symbol in count.free_symbols if symbol.name.isalpha()}
    return {symbol: rf"\mathrm{{{word}}}" for symbol, word in words.items() if len(word) > 1}


def _becomes(spec: Spec) -> list[dict[str, str]]:
    """The specs that this one becomes with something fixed, in words."""
    found = (one for one in edges([spec.name]) if one.source == spec.name)
    return [{"spec": one.target, "words": one.words} for one in found]


def _flow(spec: Spec) -> dict[str, Any]:
    """The Jacobian by distance, beside that of a recurrent network."""
    values = plain_parameters(spec)
    found = {spec.name: _profile(network(spec), values)}
    if spec.name != RECURRENT:
        found[f"{RECURRENT}, a recurrent network"] = _recurrent()
    curves = []
    for name, one in found.items():
        told = one.curve()
        values_of = ([_digits(v) for v in told[key]] for key in ("x", "y", "low", "high"))
        curves.append(Curve.of(name, *values_of))
    given = "".join(f", {name}={value}" for name, value in values.items())
    return Figure(
        "Gradient by distance",
        Scale("distance t - s, in positions"),
        Scale("norm of d output_t / d input_s", log=True),
        tuple(curves),
        f"one layer at its initial weights, {LENGTH} positions, width {WIDTH}{given}; median of "
        f"{DRAWS} draws, and quartiles as a band; what is exactly 0 has no place on this scale",
    ).plain()


def _profile(spec: Spec, values: Mapping[str, Any]) -> Profile:
    return profile(
        spec, length=LENGTH, width=WIDTH, draws=DRAWS, seed=0, start=Start(), parameters=values
    )


@cache
def _recurrent() -> Profile:
    return _profile(load(RECURRENT), {})


def _errors(spec: Spec) -> dict[str, Any] | None:
    """Each entry's error in the spec's own program, beside the bound that is derived for it."""
    draw = Draw(spec)
    sizes = draw.with_room(spec.fitted({axis.name: SIZE for axis in spec.axes}), ENTRIES)
    case = draw.case(sizes, seed=0, parameters=plain_parameters(spec)).converted(DTYPE)
    given = {**case.arrays, **case.parameters}
    expected = Rounding(spec, DTYPE, runs=RUNS).expected(
        case.arrays, case.parameters, sizes=case.sizes
    )
    if expected.reason:
        return None
    answers = compile(spec, dtype=DTYPE)(**given, sizes=case.sizes)
    pairs = {name: _judged(answers[name], expected.dues[name]) for name in spec.outputs}
    found = {name: (bound, error) for name, (bound, error) in pairs.items() if error.any()}
    if not found:
        return None
    every = np.concatenate([np.stack(pair) for pair in pairs.values()], axis=1)
    bounds, errors = every
    shown_bounds = np.concatenate([bound[error > 0] for bound, error in found.values()])
    ends = [_digits(shown_bounds.min()), _digits(shown_bounds.max())]
    line = Curve.of("where an error is its bound", ends, ends)
    return Figure(
        "Error and bound, entry by entry",
        Scale(f"bound of the entry, {WIDTHS:g} standard deviations", log=True),
        Scale("its error", log=True),
        (line, *(_points(name, *pair) for name, pair in found.items())),
        f"its own program in {DTYPE} on one drawn case; the largest error is "
        f"{(errors / bounds).max():.2g} of its bound, and {int((errors == 0).sum())} of "
        f"{len(errors)} entries have none at all",
    ).plain()


def _judged(answer: Array, due: Due) -> tuple[Array, Array]:
    """Bound and error of each entry that may have an error."""
    bound = WIDTHS * np.asarray(due.sigma, float).ravel()
    error = np.abs(np.asarray(answer, float) - np.asarray(due.value, float)).ravel()
    judged = np.isfinite(error) & (bound > 0)
    return bound[judged], error[judged]


def _points(name: str, bound: Array, error: Array) -> Curve:
    """Some of the entries, those nearest to their bound among them, by their bound."""
    seen = np.flatnonzero(error > 0)
    nearest = seen[np.argsort(-error[seen] / bound[seen], kind="stable")]
    kept = np.union1d(nearest[:NEAREST], nearest[:: max(1, len(nearest) // POINTS)])
    order = kept[np.argsort(bound[kept], kind="stable")]
    places = ([_digits(v) for v in values[order]] for values in (bound, error))
    return Curve.of(name, *places, scattered=True)


def _digits(value: float) -> float:
    """Four digits: a plot shows three, and the last ones differ between machines."""
    return float(f"{value:.4g}")


def _bugs(spec: Spec) -> list[dict[str, str]]:
    """The public bugs that code for this spec can have, each once, in the order of the operators.

    A bug is among them where a rewrite that stands for it changes what the spec computes.
    """
    named = name_softmaxes(spec)
    right = computed(named)
    found = {
        one.bug: {"bug": one.bug, "title": one.title, "source": one.source, "year": str(one.year)}
        for operator in operators()
        if _applies(operator, named, right)
        for one in operator.citations
    }
    return list(found.values())


def _applies(operator: Operator, spec: Spec, right: tuple[object, ...]) -> bool:
    try:
        return any(computed(change.spec) != right for change in operator.apply(spec))
    except AttnverifyError:
        return False
