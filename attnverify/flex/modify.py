"""What a score_mod and a mask_mod make of a score, as expressions: two runs that must agree."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from attnverify.algebra.parameters import checked
from attnverify.algebra.predicates import TRUE, Predicate, as_predicate, conjunction, negation
from attnverify.algebra.scalars import counted, scalars, scalars_in
from attnverify.algebra.terms import Axis, Entry, Expr, Parameter, Place, as_expr
from attnverify.attention import Heads, Site
from attnverify.errors import ParameterError
from attnverify.flex import rules as _rules  # noqa: F401  importing them enters them
from attnverify.flex.closures import Copies
from attnverify.flex.run import array_view, refused, run
from attnverify.flex.tables import Tables, placed
from attnverify.flex.traced import Number, Traced, Truth
from attnverify.flex.values import plain

ARGUMENTS = "b, h, q_idx, kv_idx"


@dataclass(frozen=True)
class Modifications:
    """A score_mod and a mask_mod, either of them None, with the numbers of theirs left open."""

    score_mod: Callable[..., Any] | None
    mask_mod: Callable[..., Any] | None
    heads: Heads
    parameters: Mapping[str, Parameter]

    def traced(self) -> Modified:
        """What the two compute; TraceError where they cannot be traced."""
        layout: dict[tuple[str, int], str] = {}
        one_sequence = False
        # The first run shows where tables are read, which says what their axes are.
        for _ in range(2):
            found = self._run(layout, one_sequence=one_sequence)
            layout, one_sequence = found.tables.decided(), found.tables.one_sequence
        found = self._run(layout, one_sequence=one_sequence)
        again = self._run(layout, one_sequence=one_sequence)
        for function, one, other in (
            (self.score_mod, found.score, again.score),
            (self.mask_mod, found.keep, again.keep),
        ):
            if one != other:
                raise refused(function, "computes something else at each call (random numbers?)")
        return found

    def _run(self, layout: Mapping[tuple[str, int], str], *, one_sequence: bool) -> Modified:
        site = site_of(self.heads, one_sequence=one_sequence)
        tables = Tables(site, {}, layout, tuple(self.parameters.values()))
        change = _Change(self.parameters, tables.names)
        copies = Copies(change)
        score, keep = Number(raw_score(site)), as_predicate(TRUE)
        places = [Number(as_expr(p)) for p in (site.b, site.query_head[0], site.i, site.j)]
        mods = self.score_mod, self.mask_mod
        score_mod, mask_mod = (None if mod is None else copies.of("mod", mod) for mod in mods)
        change.check()
        if score_mod is not None:
            _takes(self.score_mod, f"score, {ARGUMENTS}")
            score = _number(self.score_mod, run(score_mod, tables.entry, score, *places))
        if mask_mod is not None:
            _takes(self.mask_mod, ARGUMENTS)
            keep = _truth(self.mask_mod, run(mask_mod, tables.entry, *places))
        return Modified(site, score.expr, conjunction(keep, negation(score.hidden)), tables)


@dataclass(frozen=True)
class Modified:
    """The modified score over the raw one, which keys are kept, and the tables that these read."""

    site: Site
    score: Expr
    keep: Predicate
    tables: Tables

    def counts(self, *places: Place) -> bool:
        """Whether the number of a place enters, and not only what stands there."""
        wanted = {p for place in places for p in (place if isinstance(place, tuple) else (place,))}
        return bool(wanted & (counted(scalars(self.score)) | counted(scalars_in(self.keep))))


class _Change:
    """What stands for a closed-over value: an open number's parameter, an array's view."""

    def __init__(
        self, parameters: Mapping[str, Parameter], names: dict[tuple[Any, ...], str]
    ) -> None:
        self._parameters, self._names = parameters, names
        self._numbers: dict[str, Any] = {}

    def __call__(self, name: str, value: Any) -> Any:
        number = plain(value)
        if name in self._parameters and isinstance(number, int | float):
            self._numbers[name] = checked(self._parameters[name], number, "")
            return Number(as_expr(self._parameters[name]))
        if getattr(value, "shape", None) in (None, ()):
            return value
        self._names.setdefault(placed(value), name)
        return array_view(value)

    def check(self) -> None:
        """ParameterError for a parameter that names no number of the functions."""
        unknown = sorted(set(self._parameters) - set(self._numbers))
        if unknown:
            raise ParameterError(
                "no number of this name is closed over",
                found=", ".join(unknown),
                hint="name a number that the function closes over, a default or an attribute",
            )


def site_of(heads: Heads, *, one_sequence: bool) -> Site:
    """The indices that the pipeline works at."""
    i, j = Axis("queries")["i"], Axis("keys")["j"]
    if one_sequence:
        i, j = Axis("time")["i"], Axis("time")["j"]
    channels = Axis("key_dim")["k"], Axis("value_dim")["c"]
    return Site(Axis("batch")["b"], heads.query, heads.key, i, j, *channels)


def raw_score(site: Site) -> Entry:
    """The scaled score before it is modified."""
    return site.at_score("R")


def _takes(function: Any, arguments: str) -> None:
    try:
        inspect.signature(function).bind(*arguments.split(", "))
    except TypeError:
        raise refused(function, f"does not take ({arguments})") from None
    except ValueError:  # a function written in C tells nothing
        return


def _number(function: Any, value: Any) -> Number:
    if isinstance(value, Number):
        return value
    raise refused(function, f"returns {_words(value)} where a score is due")


def _truth(function: Any, value: Any) -> Predicate:
    if isinstance(value, Truth):
        return value.holds
    raise refused(function, f"returns {_words(value)} where a truth value is due")


def _words(value: Any) -> str:
    if isinstance(value, Number):
        return "a number"
    if isinstance(value, Truth):
        return "a truth value"
    return f"{type(value).__name__} {value!r}" if not isinstance(value, Traced) else "a table's row"
