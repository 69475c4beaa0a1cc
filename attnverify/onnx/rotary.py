"""ONNX's RotaryEmbedding: pairs of channels turned by angles whose cosines and sines are read.

Source: https://onnx.ai/onnx/operators/onnx__RotaryEmbedding.html, opset 23.
"""

from __future__ import annotations

from attnverify.algebra.along import axis, concatenated, gather
from attnverify.algebra.predicates import Compare
from attnverify.algebra.rewrite import rename
from attnverify.algebra.terms import (
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
    total,
)
from attnverify.equations import Equation, let
from attnverify.onnx.bound import Bound, Plain, Wire
from attnverify.onnx.node import Node
from attnverify.spec import Spec

B, T = Axis("batch")["b"], Axis("time")["t"]
SIDE = axis("side", size=2)["s"]


def bind_rotary(node: Node) -> Bound:
    """The spec of a RotaryEmbedding node; ParameterError for what contradicts its text."""
    return _Turn(node).bound()


class _Turn:
    """The rotation of one node at its indices; channels are pairs x sides where all of them turn.

    Where only the first `rotary_embedding_dim` turn, the rest follow them along one axis.
    """

    def __init__(self, node: Node) -> None:
        self.node = node
        self.interleaved = node.flag("interleaved")
        self.some = node.number("rotary_embedding_dim")
        if self.some < 0 or self.some % 2:
            raise node.refused(
                "rotary_embedding_dim is an even number of channels, 0 for all",
                found=self.some,
                hint="give an even number",
            )
        self._tables_fit()
        self.merged = self._merged()
        self.pair = axis("pair", size=self.some // 2)["p"] if self.some else Axis("pair")["p"]
        self.channel: Place = self._channel()
        h = axis("heads", size=node.number("num_heads"))["h"] if self.merged else Axis("heads")["h"]
        self.X = Tensor("X")[B, h, T, self.channel]

    def _tables_fit(self) -> None:
        """Refuse tables of another number of axes than the node reads them with."""
        read = "position_ids" in self.node.inputs
        for slot in ("cos_cache", "sin_cache"):
            if self.node.inputs[slot].rank not in (None, 2 if read else 3):
                raise self.node.refused(
                    f"{slot} has {'two' if read else 'three'} axes "
                    f"{'with' if read else 'without'} position_ids",
                    found=f"{self.node.inputs[slot].rank} axes",
                    hint=f"{'leave out' if read else 'give'} position_ids, or reshape {slot}",
                )

    def _merged(self) -> bool:
        """Whether heads and channels of X are one axis."""
        rank, counted = self.node.inputs["X"].rank, self.node.number("num_heads") > 0
        if rank not in (None, 3, 4) or (rank == 3 and not counted):
            raise self.node.refused(
                "X has four axes, or three and num_heads tells how many heads there are",
                found=f"{rank} axes, num_heads={self.node.number('num_heads')}",
                hint="give num_heads",
            )
        return counted if rank is None else rank == 3

    def _channel(self) -> Place:
        if self.some:
            turned, rest = axis("turned", size=self.some), Axis("rest")
            return concatenated("key_dim", turned, rest)["k"]
        return (self.pair, SIDE) if self.interleaved else (SIDE, self.pair)

    def bound(self) -> Bound:
        """The spec and how the node lays its inputs out."""
        word = "d" if self.some else "p_s" if self.interleaved else "s_p"
        named = {"cos_cache": "cos", "sin_cache": "sin", "X": "X", "position_ids": "position_ids"}
        merged, split = f"b n (h {word})", f"b h n {word}"
        wires: list[Wire] = []
        for slot, given in self.node.inputs.items():
            if slot == "X" and self.merged:
                heads = self.node.number("num_heads")
                wires.append(Plain(given.name, "X", merged, split, heads))
            else:
                wires.append(Plain(given.name, named[slot]))
        outputs = {self.node.outputs["Y"]: "Y"}
        layout = dict.fromkeys(("X", "Y"), merged) if self.merged else {}
        return Bound(self.node, self.spec(), tuple(wires), outputs, layout)

    def spec(self) -> Spec:
        """The rotation, by tables that are read at positions or that have a row per token."""
        cos, sin, read, inputs = self._tables()
        Y = Tensor("Y")[self.X.places]
        turned = self._partly(cos, sin) if self.some else self._wholly(cos, sin)
        return Spec(
            "onnx_rotary_embedding",
            [self.X, *inputs],
            [*read, let(Y, turned)],
            ["Y"],
            description=f"ONNX's RotaryEmbedding-{self.node.version}.",
        )

    def _tables(self) -> tuple[Entry, Entry, list[Equation], list[Entry]]:
        """Cosine and sine of a token and a pair, the equations and the inputs that they take."""
        names = ("cos", "sin")
        if "position_ids" not in self.node.inputs:
            direct = [Tensor(name)[B, T, self.pair] for name in names]
            return direct[0], direct[1], [], direct
        n, ids = Axis("positions")["n"], Tensor("position_ids", "int")[B, T]
        tables = [Tensor(name)[n, self.pair] for name in names]
        rows = [Tensor(f"{name}_X")[B, T, self.pair] for name in names]
        read = [
            let(row, gather(table, at=n, position=ids))
            for row, table in zip(rows, tables, strict=True)
        ]
        return rows[0], rows[1], read, [*tables, ids]

    def _wholly(self, cos: Expr, sin: Expr) -> Expr:
        """(x_0, x_1) turns to (x_0 cos - x_1 sin, x_1 cos + x_0 sin), for every pair."""
        other = Index("u", SIDE.axis)
        across = indicator(Compare("!=", as_expr(other), as_expr(SIDE)))
        crossed = total(mul(across, rename(self.X, {SIDE: other})), over=other)
        return add(mul(self.X, cos), mul(2 * SIDE - 1, sin, crossed))

    def _partly(self, cos: Expr, sin: Expr) -> Expr:
        """The first channels turn, those after them stay."""
        (_, _, _, k), half = self.X.places, self.some // 2
        if not isinstance(k, Index):
            raise TypeError(k)
        u, p = Index("u", k.axis), self.pair
        first = 2 * p if self.interleaved else as_expr(p)
        second = add(first, 1) if self.interleaved else add(p, half)

        def at(index: Index, place: Expr) -> Expr:
            return indicator(Compare("==", as_expr(index), place))

        def partner(place: Expr) -> Expr:
            return total(mul(at(u, place), rename(self.X, {k: u})), over=u)

        low = mul(at(k, first), add(mul(self.X, cos), negative(mul(sin, partner(second)))))
        high = mul(at(k, second), add(mul(self.X, cos), mul(sin, partner(first))))
        stays = mul(indicator(Compare(">=", as_expr(k), as_expr(self.some))), self.X)
        return add(total(add(low, high), over=p), stays)
