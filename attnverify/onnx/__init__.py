"""ONNX's operators of attention as specs: Attention, LinearAttention and RotaryEmbedding.

A node's attributes and inputs are choices of the pipeline that composes specs; what the
pipeline has no stage for is refused by name. `bind` tells which array of the node is which
tensor of its spec.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attnverify.onnx.attention import bind_attention
from attnverify.onnx.bound import Bound
from attnverify.onnx.linear import bind_linear
from attnverify.onnx.node import read
from attnverify.onnx.rotary import bind_rotary
from attnverify.spec import Spec

_BINDERS = {
    "Attention": bind_attention,
    "LinearAttention": bind_linear,
    "RotaryEmbedding": bind_rotary,
}

__all__ = ["Bound", "bind", "from_onnx"]


def from_onnx(
    node: Any, *, types: Mapping[str, Any] | None = None, opset: int | None = None
) -> Spec:
    """The Spec of an ONNX node: Attention (opsets 23 to 25), LinearAttention or RotaryEmbedding.

    `node` is a NodeProto, or a ModelProto or a model's file with one such node. Inputs are Q, K, V
    (batch, heads, queries or keys, channels), also where the node merges heads and channels, and
    K_past, V_past, lengths, mask and bias: a real attn_mask is both of these, as minus infinity
    hides a key. Heads of merged axes have the sizes that attributes tell; of four axes they are
    shared in groups unless shapes tell that they are not. What a spec needs and a bare node does
    not tell (the type and shape of attn_mask, whether decay and beta are per head) is in `types`,
    arrays or ValueInfoProtos by the names of the node's inputs; `opset` is the operator set of a
    bare node, the newest unless given. A row that sees no key gives 0.

    Raises ParameterError, with the attribute and what to do, for what is not mapped; LoadError for
    a file that cannot be read; MissingExtraError without onnx.
    Source: https://onnx.ai/onnx/operators/onnx__Attention.html and its neighbours.

    >>> from onnx import helper
    >>> node = helper.make_node("Attention", list("QKV"), ["Y"], is_causal=1)
    >>> print(from_onnx(node).equation("A"))
    A[b,g.r,i,j] = softmax_j(S[b,g.r,i,j] | j <= i)
    """
    return bind(node, types=types, opset=opset).spec


def bind(node: Any, *, types: Mapping[str, Any] | None = None, opset: int | None = None) -> Bound:
    """A node with its spec, and how its arrays become the spec's and back.

    Arguments and errors are those of `from_onnx`.

    >>> from onnx import helper
    >>> node = helper.make_node("Attention", ["q", "k", "v"], ["y"], q_num_heads=4, kv_num_heads=2)
    >>> bind(node).layout["Q"]
    'b n (h d)'
    """
    found = read(node, types, opset)
    return _BINDERS[found.op](found)
