"""Fit how large a bias is, and where scores are capped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np
import sympy
from scipy.optimize import minimize_scalar

from attnverify.algebra.rewrite import walk, with_scalars
from attnverify.algebra.terms import Apply, Expr, Scalar, apply, inverse, mul
from attnverify.check.diagnose import Diagnosis
from attnverify.check.recovered import Recovered, several, staged
from attnverify.compare import within
from attnverify.spec import Spec
from attnverify.transforms.mutate import Mutant, Operator
from attnverify.transforms.mutate.sites import Stage, added, with_body, with_node
from attnverify.verdict import Status

# What several numbers may differ by and still be one.
ALIKE = 1e-4
DENOMINATORS = (1, 2, 3, 4, 6, 8, 10, 16, 24, 32, 50, 64, 100, 128, 256, 1000, 10**4, 10**6)
SIZES = {"queries": (7, 9), "keys": (9, 7), "heads": (3, 4), "key_dim": (8,)}
BIAS = Operator("bias fitted", "a bias is of another size", lambda _: iter(()))
CAP = Operator("cap fitted", "scores are capped at another number", lambda _: iter(()))
# Caps between these are looked for: what is larger caps nothing that is drawn.
LEAST, MOST = 0.1, 1000.0
CAPS = (2.0, 5.0)
# A cap is seen where scores are of its size.
LARGE = 4.0


def scores_fitted(search: Diagnosis) -> Iterator[Mutant]:
    """A bias of another size, scores that are capped elsewhere, or at all."""
    found = staged(search)
    if found is not None:
        yield from _biased(search, *found)
        yield from _capped(search, *found)


def _biased(search: Diagnosis, spec: Spec, stage: Stage) -> Iterator[Mutant]:
    terms = added(stage)
    if not terms:
        return
    bare = stage.scores.body
    for term in terms:
        bare = with_node(bare, term, mul(0, term))
    without = with_body(spec, stage.name, bare)
    found = [_share(one, without) for one in several(search, SIZES, {})]
    shares = [one for one in found if one is not None]
    number = common(shares) if len(shares) == len(found) else None
    if number is None or number == 1:
        return
    body = stage.scores.body
    for term in terms:
        body = with_node(body, term, mul(number, term))
    told = f"has {shown(number)} times the bias that the spec adds to the scores"
    yield Mutant(with_body(spec, stage.name, body), BIAS, stage.name, told)


def _share(found: Recovered | None, without: Spec) -> float | None:
    if found is None:
        return None
    bare = found.scores(without)
    return found.slope(found.scores() - bare, bare)


def _capped(search: Diagnosis, spec: Spec, stage: Stage) -> Iterator[Mutant]:
    tanh = [n for n in walk(stage.scores.body) if isinstance(n, Apply) and n.primitive == "tanh"]
    caps = [p for p in spec.parameters if p.name == "cap"]
    if tanh and not caps:
        return
    told = {"cap": CAPS} if tanh else {}
    found = [_cap(search, one, stage) for one in several(search, SIZES, told, LARGE)]
    measured = [one for one in found if one is not None]
    if len(measured) < len(found):
        return
    due = CAPS if tanh else (1.0,) * len(measured)
    guesses = [(common(measured), False)]
    guesses += [(common([c / d for c, d in zip(measured, due, strict=True)]), True)] if tanh else []
    for number, times in guesses:
        if number is not None:
            yield _at_cap(spec, stage, number, times=times, own=bool(tanh))


def _cap(search: Diagnosis, found: Recovered | None, stage: Stage) -> float | None:
    """The cap that explains a subject's scores."""
    logarithms = None if found is None else found.logarithms
    if found is None or logarithms is None:
        return None
    raw = found.scores(with_body(found.spec, stage.name, _raw(stage)))
    y = found.centred(logarithms)

    def off(power: float) -> float:
        cap = float(np.exp(power))
        return float(np.square(found.centred(cap * np.tanh(raw / cap)) - y).sum())

    least = np.linspace(np.log(LEAST), np.log(MOST), 60)
    best = float(min(least, key=off))
    step = float(least[1] - least[0])
    fit = minimize_scalar(off, bounds=(best - step, best + step), options={"xatol": 1e-9})
    cap = float(np.exp(fit.x))
    room = ALIKE * float(np.abs(y).max(initial=0.0))
    value = found.centred(cap * np.tanh(raw / cap))
    return cap if within("cap", value, y, room).status is Status.HELD else None


def _raw(stage: Stage) -> Expr:
    """The scores as they are before they are capped."""
    for node in walk(stage.scores.body):
        if isinstance(node, Apply) and node.primitive == "tanh":
            symbols = {p.name: p for p in stage.spec.parameters}
            return mul(Scalar(symbols["cap"].symbol), node.arguments[0])
    return stage.scores.body


def _at_cap(spec: Spec, stage: Stage, number: Fraction, *, times: bool, own: bool) -> Mutant:
    if not own:
        raw = stage.scores.body
        body = mul(number, apply("tanh", mul(raw, inverse(Scalar(_exact(number))))))
        told = f"caps the scores at {shown(number)}, where the spec does not"
    else:
        symbol = next(p for p in spec.parameters if p.name == "cap").symbol
        to = symbol * _exact(number) if times else _exact(number)
        body = with_scalars(stage.scores.body, {symbol: to})
        told = f"caps the scores at {shown(number)}{' times the cap' if times else ''}"
        told += ", where the spec says cap"
    return Mutant(with_body(spec, stage.name, body), CAP, stage.name, told)


def common(values: Sequence[float]) -> Fraction | None:
    """The simplest fraction near all values, where these are one number up to rounding."""
    mean = sum(values) / len(values) if values else 0.0
    size = max(abs(mean), ALIKE)
    if mean == 0 or max(values) - min(values) > ALIKE * size:
        return None
    for most in DENOMINATORS:
        found = Fraction(mean).limit_denominator(most)
        if found and abs(float(found) - mean) <= ALIKE * size / 10:
            return found
    return None


def shown(number: Fraction) -> str:
    """A number as a fraction, where that is short.

    >>> shown(Fraction(1, 8)), shown(Fraction(11, 10))
    ('1/8', '1.1')
    """
    return str(number) if number.denominator < 10 else f"{float(number):.6g}"


def _exact(number: Fraction) -> sympy.Expr:
    return sympy.Rational(number.numerator, number.denominator)
