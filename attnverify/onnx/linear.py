"""ONNX's LinearAttention as a recurrence of its state.

Source: https://onnx.ai/onnx/operators/onnx__LinearAttention.html, opset 27.
"""

from __future__ import annotations

from fractions import Fraction

from attnverify.algebra.along import gather
from attnverify.algebra.terms import Apply, Axis, Entry, Expr, Tensor, as_expr, mul, power, total
from attnverify.equations import Equation, Statement, let, previous, recur
from attnverify.onnx.attention import MERGED, SPLIT, head_places
from attnverify.onnx.bound import Array, Arrays, Bound, Plain, Wire
from attnverify.onnx.node import Node
from attnverify.spec import Spec

RULES = ("linear", "gated", "delta", "gated_delta")
# A factor per head and step: as the spec has it, and as the node does.
ROWS, ROWS_LAST = "b h n", "b n h"
HEADS = ("q_num_heads", "kv_num_heads")


def bind_linear(node: Node) -> Bound:
    """The spec of a LinearAttention node; ParameterError for what contradicts its text."""
    return _Rule(node).bound()


class _Rule:
    """What an update rule is made of, at the indices of one node."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.rule = str(node.attributes.get("update_rule", "gated_delta"))
        self._checked()
        self.heads = head_places(node, *HEADS)
        b, self.t = Axis("batch")["b"], Axis("time")["t"]
        self.k, self.c = Axis("key_dim")["k"], Axis("value_dim")["c"]
        self.query, self.row = (b, *self.heads.query, self.t), (b, *self.heads.key, self.t)
        self.first = (b, *self.heads.key, self.k, self.c)
        self.state = Tensor("M")[(*self.row, self.k, self.c)]

    def _checked(self) -> None:
        """Refuse a rule that ONNX lacks, and inputs that do not go with it."""
        if self.rule not in RULES:
            raise self.node.refused(
                "an unknown update_rule", found=self.rule, due=", ".join(RULES), hint="give one"
            )
        missing = [name for name in HEADS if name not in self.node.attributes]
        if missing:
            raise self.node.refused(
                "LinearAttention needs both numbers of heads",
                found=f"no {' and no '.join(missing)}",
                hint=f"give {' and '.join(missing)}",
            )
        for name, given in self.node.inputs.items():
            if given.rank not in (None, 4 if name == "past_state" else 3):
                raise self.node.refused(
                    f"{name} has {'four' if name == 'past_state' else 'three'} axes",
                    found=f"{given.rank} axes",
                    hint="reshape it",
                )
        due = {"decay": self.rule.startswith("gated"), "beta": self.rule.endswith("delta")}
        for name, needed in due.items():
            if needed != (name in self.node.inputs):
                raise self.node.refused(
                    f"update_rule={self.rule!r} {'needs' if needed else 'forbids'} {name}",
                    found=", ".join(self.node.inputs),
                    hint=f"{'give' if needed else 'leave out'} the input {name}",
                )

    def bound(self) -> Bound:
        """The spec and how the node lays its inputs out."""
        node, named = self.node, {"output": "O", "present_state": "N"}
        wires = self.wires()
        layout = dict.fromkeys(("Q", "K", "V", "O"), MERGED)
        layout |= {w.tensor: w.layout for w in wires if isinstance(w, Plain) and w.layout}
        outputs = {node.outputs[slot]: named[slot] for slot in node.outputs}
        return Bound(node, self.spec(tuple(outputs.values())), wires, outputs, layout)

    def spec(self, outputs: tuple[str, ...]) -> Spec:
        """The recurrence, the outputs that it is read for, and the last state."""
        read = total(Tensor("Q")[(*self.query, self.k)] * self.state, over=self.k)
        O = Tensor("O")[(*self.query, self.c)]
        equations: list[Statement] = [self.recurrence(), let(O, mul(read, self.scale()))]
        if "N" in outputs:
            last = gather(self.state, at=self.t, position=self.t.axis.size - 1)
            equations.append(let(Tensor("N")[self.first], last))
        return Spec(
            f"onnx_{self.rule}_attention",
            self.inputs(),
            equations,
            outputs,
            description=f"ONNX's LinearAttention-{self.node.version}, {self.rule}.",
            announces={"permutation equivariance": "the state depends on what came before"},
        )

    def inputs(self) -> list[Entry]:
        """The inputs of the spec."""
        channels = {"Q": self.k, "K": self.k, "V": self.c}
        rows = {"Q": self.query, "K": self.row, "V": self.row}
        found = [Tensor(name)[(*rows[name], channels[name])] for name in channels]
        told = {"past_state": self.past, "decay": self.decay, "beta": self.beta}
        return [*found, *(make() for slot, make in told.items() if slot in self.node.inputs)]

    def past(self) -> Entry:
        """The state before the first step."""
        return Tensor("M_0")[self.first]

    def decay(self) -> Entry:
        """The logarithm of what is kept of the state, per head or per channel of keys."""
        return Tensor("g")[(*self.row, self.k) if self.by_channel else self.row]

    def beta(self) -> Entry:
        """How strongly is written, per head or for all of them."""
        b, *_, t = self.row
        return Tensor("beta")[(b, t) if self.shared else self.row]

    @property
    def by_channel(self) -> bool:
        """Whether the decay has a number for each channel of the keys."""
        return self._last("decay") != self.node.number("kv_num_heads")

    @property
    def shared(self) -> bool:
        """Whether all heads write with one strength; of one head it is its own."""
        last, heads = self._last("beta"), self.node.number("kv_num_heads")
        if last not in (1, heads):
            raise self.node.refused(
                "beta has one number per head, or one for all",
                found=f"a last axis of {last}",
                due=f"{heads} or 1",
                hint="reshape it",
            )
        return last != heads

    def _last(self, slot: str) -> int:
        shape = self.node.inputs[slot].shape
        if shape is None or len(shape) != 3 or shape[-1] is None:
            raise self.node.known(slot, "last axis", "it says whether heads share one number")
        return shape[-1]

    def scale(self) -> Expr:
        """What outputs are multiplied by, 1/sqrt(key_dim) unless told; 0 tells nothing."""
        told = self.node.attributes.get("scale", 0.0)
        return as_expr(told) if told else power(self.k.axis.size, Fraction(-1, 2))

    def recurrence(self) -> Statement:
        """The update of the state; what it recalls has decayed before."""
        key, value = Tensor("K")[(*self.row, self.k)], Tensor("V")[(*self.row, self.c)]
        kept: Expr = previous(self.state)
        steps: list[Equation] = []
        if "decay" in self.node.inputs:
            decay = self.decay()
            gate = Tensor("alpha")[decay.places]
            steps.append(let(gate, Apply("exp", (decay,))))
            kept = mul(gate, kept)
        written: Expr = value
        if "beta" in self.node.inputs:
            write = Tensor("U")[value.places]
            recalled = total(mul(key, kept), over=self.k)
            steps.append(let(write, self.beta() * (value - recalled)))
            written = write
        steps.append(let(self.state, kept + key * written))
        first = self.past() if "past_state" in self.node.inputs else 0
        return recur(along=self.t, initial={self.state.tensor: first}, steps=steps)

    def wires(self) -> tuple[Wire, ...]:
        """The inputs of the node, as tensors."""
        node, kv = self.node, self.node.number("kv_num_heads")
        counts = {"query": ("Q", node.number("q_num_heads")), "key": ("K", kv), "value": ("V", kv)}
        return tuple(
            Plain(given.name, counts[slot][0], MERGED, SPLIT, counts[slot][1])
            if slot in counts
            else self._factor(slot, given.name)
            for slot, given in node.inputs.items()
        )

    def _factor(self, slot: str, name: str) -> Wire:
        if slot == "past_state":
            return Plain(name, "M_0")
        if slot == "decay" and self.by_channel:
            return Plain(name, "g", MERGED, SPLIT, self.node.number("kv_num_heads"))
        if slot == "beta" and self.shared:
            return _Shared(name)
        return Plain(name, {"decay": "g", "beta": "beta"}[slot], ROWS_LAST, ROWS)


class _Shared:
    """A strength of writing that all heads share: the node has a last axis of one."""

    def __init__(self, name: str) -> None:
        self.name = name

    def inward(self, given: Arrays) -> dict[str, Array]:
        """The tensor without its last axis."""
        return {"beta": given[self.name][..., 0]}

    @staticmethod
    def outward(laid: Arrays) -> Array:
        """The node's array, its last axis there again."""
        return laid["beta"][..., None]
