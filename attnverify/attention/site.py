"""Where a stage of the pipeline works: the indices it may use, and what it hands on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from attnverify.algebra.terms import Entry, Expr, Index, Place, Tensor
from attnverify.equations import Equation
from attnverify.errors import ParameterError


@dataclass(frozen=True)
class Site:
    """The indices that a stage may use: batch, head, query, key, key channel, value channel.

    `query_head` and `key_head` are the places of heads in Q and in K and V, none where an array has
    no axis of heads; `k` is one index, or a tuple where key channels are a product axis.
    """

    b: Index
    query_head: tuple[Place, ...]
    key_head: tuple[Place, ...]
    i: Index
    j: Index
    k: Place
    c: Index

    @property
    def channels(self) -> tuple[Index, ...]:
        """The indices of key channels, those of a product axis one by one."""
        return self.k if isinstance(self.k, tuple) else (self.k,)

    @property
    def score(self) -> Entry:
        """The score S at its own indices."""
        return self.at_score("S")

    def at_score(self, name: str) -> Entry:
        """A tensor over batch, heads, queries and keys at its own indices."""
        return Tensor(name)[(self.b, *self.query_head, self.i, self.j)]

    def at_row(self, name: str) -> Entry:
        """A tensor over batch, heads and queries at its own indices."""
        return Tensor(name)[(self.b, *self.query_head, self.i)]

    def places(self, left_out: Iterable[str]) -> tuple[Place, ...]:
        """The places of an array over the scores, without the axes named in `left_out`."""
        absent = set(left_out)
        unknown = absent - {"batch", "heads", "queries", "keys"}
        if unknown:
            raise ParameterError(
                "an axis that scores lack",
                found=", ".join(sorted(unknown)),
                due="batch, heads, queries, keys",
            )
        named: list[tuple[str, Place]] = [
            ("batch", self.b),
            *(("heads", place) for place in self.query_head),
            ("queries", self.i),
            ("keys", self.j),
        ]
        return tuple(place for name, place in named if name not in absent)


@dataclass(frozen=True)
class Part:
    """What a stage makes: a value, and the equations and inputs that the value takes."""

    value: Expr
    equations: tuple[Equation, ...] = ()
    inputs: tuple[Entry, ...] = ()
