"""What is done to queries and keys before they meet: norms, and rotary embedding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from attnverify.algebra.along import axis, gather
from attnverify.algebra.predicates import Compare, conjunction
from attnverify.algebra.rewrite import entries, free, rename
from attnverify.algebra.terms import (
    Apply,
    Axis,
    Entry,
    Expr,
    Index,
    Place,
    Tensor,
    add,
    as_expr,
    indicator,
    mul,
    negative,
    power,
    total,
)
from attnverify.attention.masks import diagonal, offset_inputs
from attnverify.attention.site import Part, Site
from attnverify.equations import Equation
from attnverify.errors import ParameterError


@dataclass(frozen=True)
class Position:
    """What is done to Q and to K: `turn(site, entry, index along the sequence)` gives the new one.

    `channels` is the place of key channels that it needs, None where any will do; `ordered` tells
    that positions matter.
    """

    turn: Callable[[Site, Entry, Index], Part]
    channels: Place | None = None
    ordered: bool = False


def qk_norm(kind: str = "l2", *, gain: bool = False) -> Position:
    """Divide every query and key by its norm: `"l2"` the length, `"rms"` the root mean square.

    A vector of zeros stays zero. With `gain` the inputs `gain_Q` and `gain_K` (key_dim) multiply
    the channels. Raises ParameterError for another kind.
    Source: Henry et al. 2020, section 3; Dehghani et al. 2023 for query and key gains.
    """
    if kind not in ("l2", "rms"):
        raise ParameterError("an unknown norm", found=repr(kind), due="'l2' or 'rms'")

    def turn(site: Site, entry: Entry, _: Index) -> Part:
        squares = total(power(entry, 2), over=site.channels)
        if kind == "rms":
            squares = mul(squares, *(power(index.axis.size, -1) for index in site.channels))
        gains = (Tensor(f"gain_{entry.tensor.name[0]}")[(site.k,)],) if gain else ()
        value = mul(entry, power(squares, Fraction(-1, 2)), *gains)
        return named(entry, "n", value, gains)

    return Position(turn)


def rope(
    pairing: str = "interleaved",
    *,
    offset: object = 0,
    align: str = "top_left",
    rotary_dim: object = None,
    base: object = 10000,
    tables: bool = False,
    positions: str = "counted",
) -> Position:
    """Rotate pairs of channels by the angle position x frequency.

    `pairing="interleaved"` pairs channels (2p, 2p + 1), `"half"` pairs (p, p + rotary_dim / 2).
    Query i stands at position i + offset (`align="bottom_right"`: i + n_k - n_q + offset), key j at
    j; `offset="input"` reads one integer per batch entry. Only the first `rotary_dim` channels
    turn, all of them unless given. Frequency p is base^(-2p / rotary_dim); with `tables` cosine and
    sine are read from the inputs `cos` and `sin` (positions, pairs) at the position, and as many
    pairs turn as they have. `positions="input"` reads every position: of keys from the integer
    input `position_ids` (batch, keys), of queries from `query_position_ids`, or from the same one
    where queries and keys are one axis. Raises ParameterError for another pairing, for `rotary_dim`
    with tables, or for an offset of positions that are read.
    Source: Su et al. 2021, eqs. 15 and 34.
    """
    if pairing not in ("interleaved", "half"):
        raise ParameterError(
            "an unknown pairing", found=repr(pairing), due="'interleaved' or 'half'"
        )
    if positions not in ("counted", "input"):
        raise ParameterError(
            "an unknown source of positions", found=repr(positions), due="'counted' or 'input'"
        )
    if positions == "input" and (offset != 0 or align != "top_left"):
        raise ParameterError(
            "positions that are read are not counted from anywhere",
            found=f"offset={offset}, align={align!r} with positions='input'",
            due="one of the two",
        )
    if tables and rotary_dim is not None:
        raise ParameterError(
            "tables say by their own size how many channels turn",
            found=f"rotary_dim={rotary_dim} with tables",
            due="one of the two",
        )
    some = None if rotary_dim is None else mul(as_expr(rotary_dim), Fraction(1, 2))
    if tables:
        some = Axis("rotary").size
    angles = _Angles(align, offset, base, some, tables=tables, given=positions == "input")
    if pairing == "half" and some is not None:
        return Position(
            lambda site, entry, at: _halves(angles, some, site, entry, at), ordered=not angles.given
        )
    pair, side = Axis("pair")["p"], axis("side", size=2)["s"]
    channels = (pair, side) if pairing == "interleaved" else (side, pair)
    return Position(
        lambda site, entry, at: _pairs(angles, (pair, side), site, entry, at),
        channels,
        # Positions that are read are permuted with what stands at them.
        ordered=not angles.given,
    )


@dataclass(frozen=True)
class _Angles:
    """Cosines and sines of position x frequency, computed or read from tables.

    `some` is how many pairs turn, None for all; `given` tells that positions are inputs.
    """

    align: str
    offset: object
    base: object
    some: Expr | None
    tables: bool
    given: bool

    def position(self, site: Site, at: Index) -> Expr:
        """The position of a query or of a key."""
        query = at == site.i and site.i.axis != site.j.axis
        if self.given:
            return Tensor(f"{'query_' if query else ''}position_ids", "int")[site.b, at]
        return diagonal(site, self.align, self.offset) if query else as_expr(at)

    def inputs(self, site: Site, at: Index) -> tuple[Entry, ...]:
        """The inputs that positions and tables are read from."""
        found = offset_inputs(site, self.offset) if at == site.i else ()
        if self.given:
            found = tuple(entries(self.position(site, at)))
        return (*found, *self._tables()) if self.tables else found

    @staticmethod
    def _tables() -> tuple[Entry, Entry]:
        n, q = Axis("positions")["n"], Axis("rotary")["q"]
        return Tensor("cos")[n, q], Tensor("sin")[n, q]

    def both(
        self, site: Site, entry: Entry, at: Index, pair: Expr, pairs: Expr
    ) -> tuple[list[Expr], tuple[Equation, ...]]:
        """Cosine and sine for a pair of channels, 1 and 0 beyond the `pairs`; their equations."""
        position, turns = self.position(site, at), pair < pairs
        if not self.tables:
            logs = mul(-1, pair, power(pairs, -1), Apply("log", (as_expr(self.base),)))
            angle = mul(indicator(turns), position, Apply("exp", (logs,)))
            return [Apply("cos", (angle,)), Apply("sin", (angle,))], ()
        rows = tuple(self._row(site, entry, at, table) for table in self._tables())
        (q,) = rows[0].head.indices[-1:]
        here = indicator(conjunction(turns, Compare("==", as_expr(q), pair)))
        cosine, sine = (total(mul(here, row.head), over=q) for row in rows)
        return [add(cosine, indicator(~turns)), sine], rows

    def _row(self, site: Site, entry: Entry, at: Index, table: Entry) -> Equation:
        """The row of a table at a position, as a tensor of its own."""
        n, q = table.indices
        position = self.position(site, at)
        batch = (site.b,) if site.b in free(position) else ()
        head = Tensor(f"{table.tensor.name}_{entry.tensor.name[0]}")[(*batch, at, q)]
        return Equation(head, gather(table, at=n, position=position))


def _pairs(
    angles: _Angles, place: tuple[Index, Index], site: Site, entry: Entry, at: Index
) -> Part:
    """Channels are pairs x sides: (x_0, x_1) turns to (x_0 cos - x_1 sin, x_1 cos + x_0 sin)."""
    pair, side = place
    pairs = pair.axis.size if angles.some is None else angles.some
    (cos, sin), rows = angles.both(site, entry, at, as_expr(pair), pairs)
    other = Index("u", side.axis)
    across = indicator(Compare("!=", as_expr(other), as_expr(side)))
    crossed = total(mul(across, rename(entry, {side: other})), over=other)
    turned = add(mul(entry, cos), mul(2 * side - 1, sin, crossed))
    return named(entry, "r", turned, angles.inputs(site, at), rows)


def _halves(angles: _Angles, half: Expr, site: Site, entry: Entry, at: Index) -> Part:
    """Of the first 2 `half` channels, channel k of the lower half turns with k + half."""
    (k,) = site.channels
    here, far = as_expr(k), Index("u", k.axis)
    # The pair of a channel: k in the lower half, k - half in the upper one, beyond it none.
    pair = add(here, negative(mul(half, indicator(here >= half))))
    (cos, sin), rows = angles.both(site, entry, at, pair, half)
    low = conjunction(here < half, Compare("==", as_expr(far), add(here, half)))
    high = conjunction(here >= half, Compare("==", add(far, half), here))
    sign = add(indicator(high), negative(indicator(low)))
    crossed = total(mul(sign, rename(entry, {k: far})), over=far)
    turned = add(mul(entry, cos), mul(sin, crossed))
    return named(entry, "r", turned, angles.inputs(site, at), rows)


def named(
    entry: Entry,
    mark: str,
    value: Expr,
    inputs: tuple[Entry, ...] = (),
    before: tuple[Equation, ...] = (),
) -> Part:
    """A value as a tensor of its own, over the places of the entry that it replaces."""
    head = Entry(Tensor(f"{entry.tensor.name}_{mark}"), entry.places)
    return Part(head, (*before, Equation(head, value)), inputs)
