"""The assembly line: from a choice at each stage to the equations of a spec."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

from attnverify.algebra.predicates import TRUE, Compare, Holds, Predicate
from attnverify.algebra.terms import (
    Apply,
    Entry,
    Expr,
    Index,
    Tensor,
    add,
    as_expr,
    indicator,
    mul,
    negative,
    power,
    total,
)
from attnverify.attention.cache import keys_and_values
from attnverify.attention.scores import softcap
from attnverify.attention.site import Part, Site
from attnverify.attention.stages import Stages
from attnverify.equations import Equation, let


@dataclass
class Line:
    """The assembly line: each stage adds its equations and the inputs that they read."""

    stages: Stages
    site: Site
    equations: list[Equation] = field(default_factory=list)
    inputs: list[Entry] = field(default_factory=list)

    def run(self) -> None:
        """All stages in order."""
        site = self.site
        Q = Tensor("Q")[(site.b, *site.query_head, site.i, site.k)]
        given = keys_and_values(site)
        K, V = given.read
        self.inputs += [Q, *given.inputs]
        self.equations += given.equations
        q, k = self._turned(Q, site.i), self._turned(K, site.j)
        self.inputs += self.stages.mask.inputs(site)
        self.equations += self.stages.mask.rows(site)
        keep = self.stages.mask.keep(site)
        self._assign(site.score, self._scores(q, k, keep))
        weights = self._weights(self._capped_after_mask(keep), keep)
        O = Tensor("O")[(site.b, *site.query_head, site.i, site.c)]
        self._assign(O, self._output(weights, V, keep))

    def _assign(self, head: Entry, value: Expr) -> Entry:
        self.equations.append(let(head, value))
        return head

    def _take(self, part: Part) -> Expr:
        self.equations += part.equations
        self.inputs += part.inputs
        return part.value

    def _turned(self, entry: Entry, at: Index) -> Entry:
        """Q or K after all position stages."""
        for stage in self.stages.turns:
            part = stage.turn(self.site, entry, at)
            value = self._take(part)
            entry = value if isinstance(value, Entry) else entry
        return entry

    def _scores(self, q: Entry, k: Entry, keep: Predicate) -> Expr:
        """Compared, scaled, capped and biased, in the order that the choices say."""
        stages, site = self.stages, self.site
        raw = self._take(stages.score.compare(site, q, k))
        factors = [self._scale()] if stages.score.scaled else []
        if stages.normaliser.sharper is not None:
            factors.append(self._take(stages.normaliser.sharper(site, keep)))
        for bias in stages.biases:
            self.inputs += bias.inputs(site)
        added = [bias.value(site) for bias in stages.biases]
        if stages.scale_bias:
            return self._capped(mul(add(raw, *added), *factors))
        scaled = mul(raw, *factors)
        if stages.cap_before_bias:
            return add(self._capped(scaled), *added)
        return self._capped(add(scaled, *added))

    def _scale(self) -> Expr:
        if self.stages.scale is not None:
            return as_expr(self.stages.scale)
        return mul(*(power(index.axis.size, Fraction(-1, 2)) for index in self.site.channels))

    def _capped(self, score: Expr) -> Expr:
        cap = self.stages.cap
        return score if cap is None or not self.stages.cap_before_mask else softcap(score, cap)

    def _capped_after_mask(self, keep: Predicate) -> Entry:
        """The score; capped after the mask, hidden keys have the score that tanh(-inf) gives."""
        site, cap = self.site, self.stages.cap
        if self.stages.cap_before_mask:
            return site.score
        held = mul(indicator(keep), softcap(site.score, cap))
        low = mul(-1, as_expr(cap), indicator(~keep))
        return self._assign(site.at_score("S_c"), add(held, low))

    def _weights(self, score: Entry, keep: Predicate) -> Entry:
        """The weights, named A where they multiply the values, and the log-sum-exp L."""
        stages, site = self.stages, self.site
        seen = keep if stages.cap_before_mask else TRUE
        value = self._take(stages.normaliser.weights(site, score, seen))
        name = "A" if stages.dropout is None else "P"
        weights = self._assign(site.at_score(name), value)
        if stages.normaliser.mass is not None:
            mass = stages.normaliser.mass(site, score, seen)
            self._assign(site.at_row("L"), mul(Apply("log", (mass,)), self._per_base()))
        return weights if stages.dropout is None else self._dropped(weights)

    def _per_base(self) -> Expr:
        base = self.stages.lse_base
        return as_expr(1) if base == "e" else power(Apply("log", (as_expr(base),)), -1)

    def _dropped(self, weights: Entry) -> Entry:
        """Weights that `drop` keeps, over the probability of being kept."""
        drop = Entry(Tensor("drop", "bool"), weights.places)
        self.inputs.append(drop)
        kept = power(add(1, negative(as_expr(self.stages.dropout))), -1)
        return self._assign(self.site.at_score("A"), mul(indicator(Holds(drop)), weights, kept))

    def _output(self, weights: Entry, values: Entry, keep: Predicate) -> Expr:
        """The weighted sum of values, and what a row without keys gives."""
        site, convention = self.site, self.stages.empty_rows
        summed = total(weights * values, over=site.j)
        if convention == "zeros":
            return summed
        none = Compare("==", total(indicator(keep), over=site.j), as_expr(0))
        empty = indicator(none)
        if convention == "nan":
            return add(mul(~none, summed), mul(empty, Apply("undefined", ())))
        mean = mul(total(values, over=site.j), power(site.j.axis.size, -1))
        return add(summed, mul(empty, mean))
