"""Which variants of the catalogue an operator of ONNX computes, and by which node."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from attnverify.errors import ParameterError
from attnverify.onnx import Bound, bind
from attnverify.onnx.node import library
from attnverify.spec import Spec

Params = Mapping[str, Any]
ATTENTION, LINEAR = "Attention", "LinearAttention"
# Of LinearAttention the heads are counted by attributes, which a test has to settle.
HEADS = 2


@dataclass(frozen=True)
class Operator:
    """A node by its attributes, its inputs by schema in order (`-` is none) and their types."""

    op: str = ATTENTION
    attributes: Callable[[Params], Mapping[str, Any]] = lambda _: {}
    inputs: str = "Q K V"
    types: Mapping[str, Any] = field(default_factory=dict)

    def bound(self, params: Params) -> Bound:
        """The node, bound to the spec that it computes by itself."""
        names = [("" if name == "-" else name) for name in self.inputs.split()]
        outputs = ["Y"] if self.op == ATTENTION else ["output", "present_state"]
        node = library().helper.make_node(self.op, names, outputs, **self.attributes(params))
        return bind(node, types=self.types)


def _linear(rule: str, inputs: str, **types: Any) -> Operator:
    told = {"update_rule": rule, "scale": 1.0, "q_num_heads": HEADS, "kv_num_heads": HEADS}
    return Operator(LINEAR, lambda _: told, inputs, types)


def _number(params: Params, name: str) -> Any:
    if name not in params:
        raise ParameterError(
            "a node's attribute is a number",
            parameter=name,
            found=f"no {name}",
            hint=f"give {name}=...",
        )
    return params[name]


def _window(params: Params) -> dict[str, Any]:
    beside = 0 if params.get("counts", "keys") == "left" else 1
    return {"is_causal": 1, "left_window_size": _number(params, "window") - beside}


def _capped(params: Params) -> dict[str, Any]:
    ordered = {"is_causal": 1} if params.get("ordered", False) else {}
    return {"softcap": float(_number(params, "cap")), **ordered}


_WHOLE = (2, 2, 3, 3)
_PER_HEAD = np.ones((1, 3, HEADS), np.float32)
# Of channels as many that heads times channels are not as many as heads.
_PER_CHANNEL = np.ones((1, 3, HEADS * 3), np.float32)
OPERATORS = {
    "global": Operator(),
    "causal": Operator(attributes=lambda _: {"is_causal": 1}),
    "cross": Operator(),
    "grouped_query": Operator(),
    "masked": Operator(inputs="Q K V attn_mask", types={"attn_mask": np.ones(_WHOLE, np.bool_)}),
    "biased": Operator(inputs="Q K V attn_mask", types={"attn_mask": np.ones(_WHOLE, np.float32)}),
    "softcap": Operator(attributes=_capped),
    "sliding_window": Operator(attributes=_window),
    "padding": Operator(inputs="Q K V - - - nonpad_kv_seqlen"),
    "gated_linear": _linear("gated", "query key value - decay", decay=_PER_CHANNEL),
    "delta_rule": _linear("delta", "query key value - - beta", beta=_PER_HEAD),
    "gated_delta": _linear(
        "gated_delta", "query key value - decay beta", decay=_PER_HEAD, beta=_PER_HEAD
    ),
}


def of_spec(spec: Spec, params: Params) -> Bound:
    """The node that a variant of the catalogue is, bound to that variant and to its first output.

    Raises ParameterError for a variant that no operator computes, or whose inputs are others.
    """
    if spec.name not in OPERATORS:
        raise ParameterError(
            "no operator of ONNX is known to compute this spec",
            spec=spec.name,
            due=", ".join(OPERATORS),
            hint="give the node: a NodeProto, or a model with one node",
        )
    found = OPERATORS[spec.name].bound(params)
    known = {(entry.tensor, len(entry.places)) for entry in found.spec.inputs}
    outputs = {name: tensor for name, tensor in found.outputs.items() if tensor in spec.outputs}
    if not {(entry.tensor, len(entry.places)) for entry in spec.inputs} <= known or not outputs:
        raise ParameterError(
            "the operator takes other inputs than this member of the spec",
            spec=spec.name,
            found=", ".join(map(str, spec.inputs)),
            due=", ".join(map(str, found.spec.inputs)),
            hint="give the node: a NodeProto, or a model with one node",
        )
    return found
