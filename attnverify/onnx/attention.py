"""ONNX's Attention as a choice at each stage of the pipeline.

Source: https://onnx.ai/onnx/operators/onnx__Attention.html, opsets 23 to 25.
"""

from __future__ import annotations

from dataclasses import dataclass

from attnverify.algebra.along import axis
from attnverify.algebra.predicates import TRUE
from attnverify.algebra.terms import Apply, Axis, Entry, Expr, Tensor, add, indicator
from attnverify.attention import (
    Heads,
    Mask,
    additive_bias,
    attention,
    causal,
    everything,
    grouped,
    key_lengths,
    standard,
    within,
)
from attnverify.attention.cache import cached_keys
from attnverify.attention.site import Site
from attnverify.equations import Equation
from attnverify.onnx.bound import Bound, Plain, Wire
from attnverify.onnx.masks import MaskWire, mask_wire
from attnverify.onnx.node import Node
from attnverify.spec import Spec

SPLIT, MERGED = "b h n d", "b n (h d)"
# The values of qk_matmul_output_mode: scores, capped, with the bias, weights.
RAW, CAPPED, BIASED, WEIGHTS = range(4)
# What softmax_precision may be, by the numbers that ONNX gives types.
_ORDERED = {"permutation equivariance": "past keys have their places in the mask, before new ones"}
_INDICES = (("batch", "b"), ("queries", "i"), ("key_dim", "k"), ("value_dim", "c"))
PRECISIONS = {1: "float32", 10: "float16", 11: "float64", 16: "bfloat16"}


def bind_attention(node: Node) -> Bound:
    """The spec of an Attention node; ParameterError for what contradicts the operator's text."""
    stages = _Stages(node)
    outputs = {node.outputs[slot]: stages.tensors[slot] for slot in node.outputs}
    split = {} if not stages.merged else dict.fromkeys(("Q", "K", "V", "O"), MERGED)
    return Bound(node, stages.spec(), stages.wires, outputs, split, stages.internal)


@dataclass(frozen=True)
class _Stages:
    """The choices that a node's attributes and inputs are."""

    node: Node

    def __post_init__(self) -> None:
        for broken, words, hint in _CONTRADICTIONS:
            if broken(self.node):
                raise self.node.refused(words, found=_told(self.node), hint=hint)

    @property
    def merged(self) -> bool:
        """Whether heads and channels of Q, K and V are one axis."""
        known = [self.node.inputs[name].rank for name in "QKV"]
        ranks = {rank for rank in known if rank is not None}
        counts = [name in self.node.attributes for name in ("q_num_heads", "kv_num_heads")]
        if not ranks <= {3, 4} or len(ranks) > 1:
            raise self.node.refused(
                "Q, K and V have three axes each, or four", found=sorted(ranks), hint="reshape them"
            )
        if ranks == {4} and any(counts):
            raise self.node.refused(
                "q_num_heads and kv_num_heads go with Q, K and V of three axes",
                found="four axes",
                hint="leave the two attributes out",
            )
        if any(counts) != all(counts) or (ranks == {3} and not all(counts)):
            raise self.node.refused(
                "Q, K and V of three axes take both q_num_heads and kv_num_heads",
                found=_told(self.node),
                hint="give both attributes",
            )
        return all(counts)

    @property
    def heads(self) -> Heads:
        """Heads as counted by attributes or shapes; shared in groups where that is left open."""
        if self.merged:
            return head_places(self.node, "q_num_heads", "kv_num_heads")
        sizes = [self.node.inputs[name].shape for name in "QK"]
        counts = [None if shape is None else shape[1] for shape in sizes]
        same = counts[0] is not None and counts[0] == counts[1]
        return standard() if same else grouped()

    @property
    def cached(self) -> bool:
        """Whether past keys and values come before the new ones."""
        return "past_key" in self.node.inputs

    @property
    def mask_wire(self) -> MaskWire | None:
        """The mask that is an input."""
        keys = [self.node.inputs[n].name for n in ("K", "past_key") if n in self.node.inputs]
        return mask_wire(self.node, tuple(keys))

    @property
    def start(self) -> object:
        """The position of the first query: after the past, before the last keys, or 0."""
        if self.cached:
            return Axis("past").size
        if "nonpad_kv_seqlen" in self.node.inputs:
            return add(Tensor("lengths", "int")[Axis("batch")["b"]], -Axis("queries").size)
        return 0

    @property
    def mask(self) -> Mask:
        """The keys that a query sees: causal, a window, lengths and a given mask, all at once."""
        found, given = everything(), self.mask_wire
        if self.node.flag("is_causal"):
            found &= causal(offset=self.start)
        left, right = (self._window(f"{side}_window_size") for side in ("left", "right"))
        if (left, right) != (None, None):
            found &= within(left, right, offset=self.start)
        if "nonpad_kv_seqlen" in self.node.inputs:
            found &= key_lengths()
        return found if given is None else found & given.mask

    def _window(self, name: str) -> int | None:
        """One side of the window, None where it is open."""
        size = self.node.number(name, -1)
        if size < -1:
            raise self.node.refused(
                f"{name} is a number of keys, or -1 for all", found=size, hint=f"give {name}=-1"
            )
        return None if size == -1 else size

    @property
    def internal(self) -> str:
        """The type that weights are computed in, empty unless told."""
        if "softmax_precision" not in self.node.attributes:
            return ""
        number = self.node.number("softmax_precision")
        if number not in PRECISIONS:
            raise self.node.refused(
                "softmax_precision is the number of a real type",
                found=number,
                due=", ".join(f"{n} ({name})" for n, name in PRECISIONS.items()),
                hint="give one of these, or leave it out",
            )
        return PRECISIONS[number]

    @property
    def mode(self) -> int:
        """What the fourth output holds."""
        found = self.node.number("qk_matmul_output_mode")
        if found not in range(4):
            raise self.node.refused(
                "qk_matmul_output_mode is 0, 1, 2 or 3", found=found, hint="give one of these"
            )
        return found

    @property
    def tensors(self) -> dict[str, str]:
        """The tensor of each output of the schema."""
        scores = "A" if self.mode == WEIGHTS else "S" if self._as_they_are else "R"
        present = {"present_key": "K_all", "present_value": "V_all"}
        return {"Y": "O", **present, "qk_matmul_output": scores}

    @property
    def _as_they_are(self) -> bool:
        """Whether the scores that weights are made of are those that the fourth output shows."""
        if self.mode == BIASED:
            return self.mask.keep(self._site) == TRUE
        return self.composed(upto=self.mode).equation("S") == self.composed().equation("S")

    def composed(self, upto: int = WEIGHTS) -> Spec:
        """The composition, its scores as they are at a stage."""
        cap, given = self.node.attributes.get("softcap", 0.0), self.mask_wire
        biased = given is not None and given.real and upto >= BIASED
        return attention(
            "onnx_attention",
            heads=self.heads,
            scale=self.node.attributes.get("scale"),
            cap=cap if cap > 0 and upto >= CAPPED else None,
            bias=additive_bias(given.left_out) if given is not None and biased else (),
            mask=self.mask,
            cache=self.cached,
            announces=_ORDERED if self.cached and given is not None else None,
        )

    def spec(self) -> Spec:
        """The composition with the outputs that the node has."""
        whole = self.composed()
        equations = list(whole.equations)
        wanted = [self.tensors[slot] for slot in self.node.outputs]
        if "R" in wanted:
            equations.append(self._scores())
        return whole.replace(
            equations=tuple(equations), outputs=tuple(wanted), description=self._described()
        )

    def _scores(self) -> Equation:
        """The scores at the stage that the fourth output shows; hidden ones are log 0."""
        found = self.composed(upto=self.mode).equation("S")
        body: Expr = found.body
        if self.mode == BIASED:
            hidden = Apply("log", (indicator(self.mask.keep(self._site)),))
            body = add(found.head, hidden)
        return Equation(Entry(Tensor("R"), found.head.places), body)

    @property
    def _site(self) -> Site:
        j = cached_keys() if self.cached else Axis("keys")["j"]
        b, i, k, c = (Axis(n)[x] for n, x in _INDICES)
        return Site(b, self.heads.query, self.heads.key, i, j, k, c)

    def _described(self) -> str:
        told = f"; softmax in {self.internal}" if self.internal else ""
        return f"ONNX's Attention-{self.node.version}: {_told(self.node)}{told}."

    @property
    def wires(self) -> tuple[Wire, ...]:
        """The inputs of the node, as tensors."""
        named = {"past_key": "K_past", "past_value": "V_past", "nonpad_kv_seqlen": "lengths"}
        counts = {"Q": "q_num_heads", "K": "kv_num_heads", "V": "kv_num_heads"}
        found: list[Wire] = []
        for slot, given in self.node.inputs.items():
            if slot in counts and self.merged:
                heads = self.node.number(counts[slot])
                found.append(Plain(given.name, slot, MERGED, SPLIT, heads))
            elif slot != "attn_mask":
                found.append(Plain(given.name, named.get(slot, slot)))
        return (*found, *([self.mask_wire] if self.mask_wire is not None else []))


def head_places(node: Node, queries: str, keys: str) -> Heads:
    """Heads of the numbers that two attributes have, shared in groups where they differ."""
    many, few = node.number(queries), node.number(keys)
    if few < 1 or many < 1 or many % few:
        raise node.refused(
            f"{queries} is a multiple of {keys}",
            found=f"{queries}={many}, {keys}={few}",
            hint=f"give a multiple of {few}" if few > 0 else f"give {keys} of at least 1",
        )
    if many == few:
        h = axis("heads", size=many)["h"]
        return Heads((h,), (h,))
    g, r = axis("group", size=few)["g"], axis("repeat", size=many // few)["r"]
    return Heads(((g, r),), (g,))


def _told(node: Node) -> str:
    return ", ".join(f"{n}={v}" for n, v in node.attributes.items()) or "no attributes"


_CONTRADICTIONS = (
    (
        lambda n: ("past_key" in n.inputs) != ("past_value" in n.inputs),
        "past_key and past_value go together",
        "give both inputs or none",
    ),
    (
        lambda n: "past_key" in n.inputs and "nonpad_kv_seqlen" in n.inputs,
        "nonpad_kv_seqlen does not go with past_key",
        "give one of the two",
    ),
    (
        lambda n: (
            "nonpad_kv_seqlen" in n.inputs
            and bool({"present_key", "present_value"} & set(n.outputs))
        ),
        "nonpad_kv_seqlen does not go with present_key and present_value",
        "leave the two outputs out",
    ),
    (
        lambda n: (
            "past_key" not in n.inputs and bool({"present_key", "present_value"} & set(n.outputs))
        ),
        "present_key and present_value go with past_key and past_value",
        "give the two inputs, or leave the two outputs out",
    ),
    (
        lambda n: n.attributes.get("softcap", 0.0) < 0,
        "softcap is at least 0",
        "give softcap=0.0 for none",
    ),
    (
        lambda n: n.attributes.get("scale", 1.0) < 0,
        "scale is at least 0, as queries and keys are multiplied by its square root",
        "leave scale out for 1/sqrt(head_size)",
    ),
)
