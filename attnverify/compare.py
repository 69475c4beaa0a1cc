"""The only numeric comparison: an answer against what is due, under a bound per entry.

Form comes before values: an answer of another shape or type is wrong before any number is looked
at, and it is never broadcast, cast or cleaned first.  Every function returns a Verdict or raises.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnverify.dtypes import type_name
from attnverify.errors import RefutedError
from attnverify.verdict import Status, Verdict, Witness

Array = NDArray[Any]

# Gates of shared derivations: an entry may stray six standard deviations, an output's root mean
# square 1.5.
WIDTHS = 6.0
RMS = 1.5
# What lies within this share of the way to one of two arrays is much nearer to it.
MUCH = 0.25


@dataclass(frozen=True)
class Filter:
    """A direction that small errors may share, matched by `weights` per entry.

    Errors times weights sum to how far an answer has gone along it: 0.003 where a scale is off by
    0.3 %.  `null` is how far disturbed runs go, one row for each legal form of the program, one run
    of noise to a column; what is drawn once for all cases is the same in the same place.
    """

    weights: Array
    null: Array


@dataclass(frozen=True)
class Due:
    """What an output must be: `value` in the spec's axis order, `sigma` per entry, axes by name.

    `sigma` is the standard deviation of the rounding error; where it is 0 no error is allowed at
    all.
    """

    value: Array
    sigma: Array
    axes: tuple[str, ...]
    filters: Mapping[str, Filter] = field(default_factory=dict)


@dataclass(frozen=True)
class Form:
    """How the subject lays an output out: shape, axes in words, type, the way back."""

    shape: tuple[int, ...]
    axes: str
    dtype: str
    restore: Callable[[Array], Array] = field(default=lambda array: array)


def judge(name: str, got: Array | None, due: Due, form: Form | None = None) -> Verdict:
    """Compare one answer with what is due: form, finiteness, each entry, the mean square.

    HELD carries `worst` (largest error over sigma) and `rms` as evidence; REFUTED a witness with
    the first wrong entry; UNDECIDED says why no bound could be had.  `got` is None where the
    subject gave nothing.

    >>> due = Due(np.array([1.0, 2.0]), np.array([1e-8, 1e-8]), ("keys",))
    >>> judge("forward O", np.array([1.0, 2.1]), due).status.value
    'REFUTED'
    """
    fault = _form_fault(got, due, form)
    if fault or got is None:
        return _nothing(name, due) if got is None else _refuted(name, fault)
    found = got if form is None else form.restore(got)
    found = np.asarray(found, dtype=np.result_type(due.value.dtype, np.float64))
    if not np.isfinite(due.sigma[np.isfinite(due.value)]).all():
        return Verdict(
            name, Status.UNDECIDED, "no bound: a disturbed run left the range of the reference"
        )
    ratio = _ratios(found, due)
    wrong = ratio > WIDTHS
    if wrong.any():
        return _wrong_entries(name, found, due, ratio, wrong)
    return _mean_square(name, found, due, ratio)


def excess(got: Array, due: Due, form: Form | None = None) -> Array | None:
    """Error over its bound of every entry, in the spec's axis order: what is above 1 fails.

    None where the form itself is wrong, so that no entry can be told from another.
    """
    if _form_fault(got, due, form):
        return None
    found = got if form is None else form.restore(got)
    return (
        _ratios(np.asarray(found, dtype=np.result_type(due.value.dtype, np.float64)), due) / WIDTHS
    )


def require(name: str, got: Array | None, due: Due, form: Form | None = None) -> Verdict:
    """`judge`, raising RefutedError unless the answer HELD."""
    verdict = judge(name, got, due, form)
    if verdict.status is not Status.HELD:
        raise RefutedError(f"{verdict.name}: {verdict.detail}")
    return verdict


def nearer(name: str, got: Array, value: Array, other: Array) -> Verdict:
    """HELD where an answer is much nearer to one array than to another, NaN where that one is.

    >>> nearer("O", np.array([1.01]), np.array([1.0]), np.array([2.0])).status.value
    'HELD'
    """
    one, two = (_apart(np.asarray(got, float), np.asarray(x, float)) for x in (value, other))
    detail = f"{one:.3g} from the one, {two:.3g} from the other"
    held = one <= MUCH * two and math.isfinite(one)
    return Verdict(name, Status.HELD if held else Status.REFUTED, detail)


def _apart(got: Array, value: Array) -> float:
    """The root mean square of the differences; infinite where only one is NaN, or an infinity."""
    same = (got == value) | (np.isnan(got) & np.isnan(value))
    with np.errstate(all="ignore"):
        away = np.where(same, 0.0, got - value)
        size = float(np.sqrt(np.mean(np.square(away)))) if away.size else 0.0
    return size if math.isfinite(size) else math.inf


def together(
    name: str, along: Sequence[float], filters: Sequence[Filter], floor: float, words: str
) -> Verdict:
    """Compare what many answers have in common along one direction with what rounding gives.

    `along` is how far each went, `floor` the part that any right answer may have in all of them,
    `words` what going along it means.  HELD and REFUTED carry `amplitude` and `spread` as evidence.

    >>> filters = [Filter(np.ones(1), np.array([[-1e-3, 1e-3]]))] * 9
    >>> together("O", [1e-2] * 9, filters, 1e-6, "the scale is off").status.value
    'REFUTED'
    """
    power = [float(np.mean(f.null**2)) for f in filters]
    counted = [n for n, p in enumerate(power) if p > 0]
    if not counted:
        return Verdict(name, Status.UNDECIDED, "nothing moves along it")
    # The draws that tell most count most, and noise that they share is shared here.
    share = np.array([1 / power[n] for n in counted])
    share /= share.sum()
    amplitude = float(share @ np.array([along[n] for n in counted]))
    null = np.tensordot(share, np.array([filters[n].null for n in counted]), 1)
    # Each row is a form that somebody may rightly write: the widest counts.
    spread = math.hypot(float(np.sqrt(np.mean(null**2, axis=-1)).max()), floor)
    limit = WIDTHS * spread
    evidence = {"amplitude": amplitude, "spread": spread, "draws": len(counted)}
    if abs(amplitude) <= limit:
        return Verdict(name, Status.HELD, evidence=evidence)
    detail = (
        f"every entry lies within its bound, but the errors of {len(counted)} draws go the same "
        f"way, as if {words} by {100 * amplitude:+.3g} %; rounding explains {100 * limit:.2g} %"
    )
    return Verdict(
        name,
        Status.REFUTED,
        detail,
        witness=Witness(note=detail),
        evidence={**evidence, "worst": abs(amplitude) / spread},
    )


def within(
    name: str, got: Array, due: Array, bound: Array | float, axes: tuple[str, ...] = ()
) -> Verdict:
    """Compare two arrays entry by entry under a bound given whole, not in standard deviations."""
    value = np.asarray(due)
    sigma = np.broadcast_to(np.asarray(bound, dtype=float) / WIDTHS, value.shape)
    ratio_due = Due(value, sigma, axes or tuple(f"axis{n}" for n in range(value.ndim)))
    fault = _form_fault(got, ratio_due, None)
    if fault:
        return _refuted(name, fault)
    ratio = _ratios(np.asarray(got), ratio_due)
    wrong = ratio > WIDTHS
    if wrong.any():
        return _wrong_entries(name, np.asarray(got), ratio_due, ratio, wrong)
    return Verdict(name, Status.HELD, evidence={"worst": _largest(ratio) / WIDTHS})


def at_most(name: str, got: Array, bound: Array, axes: tuple[str, ...] = ()) -> Verdict:
    """Whether no entry exceeds its bound, which the caller has widened by what rounding may do.

    A NaN exceeds every bound.  HELD carries `closest`, the largest share of a bound that was used.

    >>> at_most("norm", np.array([0.5, 2.0]), np.array([0.5, 1.0])).status.value
    'REFUTED'
    """
    limit = np.broadcast_to(np.asarray(bound, dtype=float), got.shape)
    with np.errstate(all="ignore"):
        share = np.where(limit > 0, got / limit, np.where(got > 0, np.inf, 0))
    wrong = ~(got <= limit)
    if not wrong.any():
        return Verdict(name, Status.HELD, evidence={"closest": _largest(share)})
    worst = tuple(
        int(n) for n in np.unravel_index(int(np.argmax(np.where(wrong, share, -np.inf))), got.shape)
    )
    places = axes or tuple(f"axis{n}" for n in range(got.ndim))
    detail = (
        f"{int(wrong.sum())} of {wrong.size} exceed their bound; most [{_place(places, worst)}]: "
        f"got {_number(got[worst])}, due at most {_number(limit[worst])}"
    )
    index = dict(zip(places, worst, strict=True))
    witness = Witness(index=index, got=float(got[worst]), bound=float(limit[worst]))
    counted = {"failing": int(wrong.sum()), "entries": int(wrong.size)}
    return Verdict(name, Status.REFUTED, detail, witness=witness, evidence=counted)


def same_bits(name: str, got: Array, due: Array) -> Verdict:
    """Whether two arrays agree in shape, type and every bit (a NaN equals itself)."""
    if got.shape != due.shape or got.dtype != due.dtype:
        return _refuted(name, f"{got.dtype}{list(got.shape)} is not {due.dtype}{list(due.shape)}")
    bits = [np.ascontiguousarray(x).reshape(-1).view(np.uint8) for x in (got, due)]
    count = int((bits[0] != bits[1]).sum())
    if count:
        return _refuted(name, f"{count} of {bits[0].size} bytes differ")
    return Verdict(name, Status.HELD, "every bit is the same")


def nothing_but_zero(name: str, got: Array, axes: tuple[str, ...]) -> Verdict:
    """Whether every entry of an array, however large, is zero; a NaN is not.

    >>> nothing_but_zero("dQ", np.array([0.0, -0.0]), ("queries",)).status.value
    'HELD'
    """
    if not np.any(got):
        return Verdict(name, Status.HELD, evidence={"worst": 0.0, "rms": 0.0, "entries": got.size})
    return judge(name, got, Due(np.zeros(got.shape), np.zeros(got.shape), axes))


def convention(entries: Array) -> str:
    """What entries of rows without keys hold: `zeros`, `nan`, `other` finite values, or `mixed`."""
    found = np.asarray(entries, dtype=float)
    if np.isnan(found).all():
        return "nan"
    if (found == 0).all():
        return "zeros"
    return "other" if np.isfinite(found).all() else "mixed"


def misfit(got: Array | float, due: Array | float) -> float:
    """How far the worst entry lies from what a reading expects: infinite where one has no number.

    Relative to what is due where that is over one.  No verdict: a reading that is proposed by this
    is still to be judged.

    >>> misfit(np.array([1.0, 4.0]), np.array([1.0, 2.0]))
    1.0
    """
    found, value = np.broadcast_arrays(np.asarray(got, float), np.asarray(due, float))
    same = (found == value) | (np.isnan(found) & np.isnan(value))
    apart = np.isfinite(found) & np.isfinite(value)
    if not (same | apart).all():
        return float("inf")
    away = np.abs(np.where(same, 0, np.where(apart, found, 0) - np.where(apart, value, 0)))
    size = np.maximum(1, np.abs(np.where(apart, value, 1)))
    return float(np.max(away / size, initial=0.0))


def _form_fault(got: Array | None, due: Due, form: Form | None) -> str:
    """What is wrong with the answer's shape or type, in words; empty where nothing is."""
    if got is None:
        return ""
    if form is not None:
        return form_fault(got, form)
    return _shape_fault(got, due.value.shape, " ".join(due.axes))


def form_fault(got: Array, form: Form) -> str:
    """What is wrong with an answer's shape or type, whatever its values; empty where nothing is."""
    fault = _shape_fault(got, form.shape, form.axes)
    if fault or type_name(got.dtype) == form.dtype:
        return fault
    return f"dtype {type_name(got.dtype)}, due {form.dtype}"


def _shape_fault(got: Array, shape: tuple[int, ...], axes: str) -> str:
    if got.shape == shape:
        return ""
    return f"shape {_shape(got.shape)}, due {_shape(shape)} ({axes})"


def _ratios(found: Array, due: Due) -> Array:
    """Error over sigma per entry; infinite where a value is of the wrong kind."""
    value, sigma = due.value, due.sigma.astype(float)
    with np.errstate(all="ignore"):
        error = np.abs(found - value).astype(float)
        ratio = np.where(
            sigma > 0, error / np.where(sigma > 0, sigma, 1), np.where(error > 0, np.inf, 0)
        )
    finite = np.isfinite(value) & np.isfinite(found)
    same = (np.isnan(value) & np.isnan(found)) | (value == found)
    return np.where(finite, ratio, np.where(same, 0, np.inf))


def _wrong_entries(name: str, found: Array, due: Due, ratio: Array, wrong: Array) -> Verdict:
    first = tuple(int(n) for n in np.argwhere(wrong)[0])
    worst = tuple(int(n) for n in np.unravel_index(int(np.argmax(ratio)), ratio.shape))
    count = int(wrong.sum())
    bound = WIDTHS * float(due.sigma[first])
    detail = (
        f"{count} of {wrong.size} entries fail; first wrong entry [{_place(due.axes, first)}]: "
        f"got {_number(found[first])}, due {_number(due.value[first])}, bound {_number(bound)}"
    )
    if worst != first:
        values = f"got {_number(found[worst])}, due {_number(due.value[worst])}"
        detail += f"; worst [{_place(due.axes, worst)}]: {values}"
    not_finite = int((~np.isfinite(found) & np.isfinite(due.value)).sum())
    if not_finite:
        detail += f"; {not_finite} entries are NaN or infinite where a finite value is due"
    witness = Witness(
        index=dict(zip(due.axes, first, strict=True)),
        got=float(found[first]),
        due=float(due.value[first]),
        bound=bound,
    )
    return Verdict(
        name,
        Status.REFUTED,
        detail,
        witness=witness,
        evidence={"failing": count, "entries": int(wrong.size), "worst": _largest(ratio)},
    )


def _mean_square(name: str, found: Array, due: Due, ratio: Array) -> Verdict:
    """The gate on the whole output: its root mean square, with more room where rows are few."""
    counted = ratio[due.sigma > 0]
    rms = math.sqrt(float(np.mean(counted**2))) if counted.size else 0.0
    # Errors of one row go together, so an output of few rows may stray as one entry may.
    rows = max(1, counted.size // max(1, ratio.shape[-1] if ratio.ndim else 1))
    limit = math.sqrt(RMS**2 + (WIDTHS**2 - RMS**2) / rows)
    along = {name: _along(found, due.value, f.weights) for name, f in due.filters.items()}
    figures = {"worst": _largest(ratio), "rms": rms, "entries": int(ratio.size)}
    evidence = {**figures, **({"along": along} if along else {})}
    if rms <= limit:
        return Verdict(name, Status.HELD, evidence=evidence)
    worst = tuple(int(n) for n in np.unravel_index(int(np.argmax(ratio)), ratio.shape))
    witness = Witness(
        index=dict(zip(due.axes, worst, strict=True)),
        got=float(found[worst]),
        due=float(due.value[worst]),
        bound=WIDTHS * float(due.sigma[worst]),
        note="the largest of many small errors",
    )
    detail = (
        "every entry lies within its bound, but the root mean square of error over sigma "
        f"is {rms:.2f}, due at most {limit:.2f}; largest at [{_place(due.axes, worst)}]: "
        f"got {_number(found[worst])}, due {_number(due.value[worst])}"
    )
    return Verdict(name, Status.REFUTED, detail, witness=witness, evidence=evidence)


def _along(found: Array, value: Array, weights: Array) -> float:
    """How far an answer goes along a filter; what is undefined has no weight."""
    counted = weights != 0
    return float(np.sum((found[counted] - value[counted]) * weights[counted]))


def _nothing(name: str, due: Due) -> Verdict:
    """No array at all is right only where nothing but zeros was due."""
    if due.value.size and np.any((due.value != 0) | (due.sigma != 0)):
        return _refuted(name, "the subject gave nothing where values other than zero are due")
    words, counted = "nothing was given, and only zeros were due", {"worst": 0.0, "rms": 0.0}
    return Verdict(name, Status.HELD, words, evidence=counted)


def _refuted(name: str, detail: str) -> Verdict:
    return Verdict(name, Status.REFUTED, detail, witness=Witness(note=detail))


def _largest(ratio: Array) -> float:
    return float(ratio.max()) if ratio.size else 0.0


def _number(value: Any) -> str:
    return f"{float(value):.9g}"


def _shape(shape: tuple[int, ...]) -> str:
    return f"({', '.join(map(str, shape))})"


def _place(axes: tuple[str, ...], index: tuple[int, ...]) -> str:
    return ", ".join(f"{axis}={n}" for axis, n in zip(axes, index, strict=True))
