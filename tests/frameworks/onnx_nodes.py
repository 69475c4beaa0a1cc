"""ONNX's Attention and RotaryEmbedding nodes as specs: from attributes and inputs to choices.

Source: the operators' texts of opsets 23 to 25, https://onnx.ai/onnx/operators/onnx__Attention.html
and https://onnx.ai/onnx/operators/onnx__RotaryEmbedding.html.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import einops
import numpy as np
from numpy.typing import NDArray

from attnverify.algebra.terms import Axis, Tensor, indicator
from attnverify.attention import Mask, Normaliser, Part, Site
from attnverify.notation import (
    Spec,
    additive_bias,
    attention,
    axes,
    causal,
    everything,
    given,
    grouped,
    key_lengths,
    parameter,
    rope,
    standard,
    within,
)

Array = NDArray[Any]
Arrays = Mapping[str, Array]

(past,) = axes("past")
scale = parameter("scale", gt=0, doc="what scores are multiplied by")
cap = parameter("cap", gt=0, doc="what no score's size exceeds")
left = parameter("left", integer=True, ge=0, doc="keys seen before the query's own position")
right = parameter("right", integer=True, ge=0, doc="keys seen after the query's own position")

# The values of qk_matmul_output_mode.
RAW, CAPPED, BIASED, WEIGHTS = range(4)
# Weights that are 1 where a query sees a key and 0 elsewhere.
SEEN = Normaliser(lambda _site, _score, keep: Part(indicator(keep)))


@dataclass(frozen=True)
class Tie:
    """A node tied to a spec: which tensor each output is, and the spec's arrays and parameters.

    `layout` is how the node lays out an output of four axes. `seen` is a spec whose A is 1 where a
    query sees a key: scores that the node masks are minus infinity elsewhere.
    """

    spec: Spec
    outputs: Mapping[str, str]
    arrays: Arrays
    parameters: Mapping[str, float]
    layout: Mapping[str, str] = field(default_factory=dict)
    seen: Spec | None = None


@dataclass(frozen=True)
class Choices:
    """What of an Attention node changes equations; `masked` and `biased` are axes left out."""

    shared: bool
    scaled: bool
    capped: bool
    ordered: bool
    cached: bool
    counted: bool
    bounded: tuple[bool, bool]
    masked: tuple[str, ...] | None
    biased: tuple[str, ...] | None

    @property
    def start(self) -> object:
        """The position of the first query: after the past, before the last keys, or 0."""
        if self.cached:
            return past.size
        return "input" if self.counted else 0

    @property
    def mask(self) -> Mask:
        """The keys that a query sees: causal, a window, lengths and a given mask, all at once."""
        found = causal(offset=self.start) if self.ordered else everything()
        if any(self.bounded):
            before, after = self.bounded
            ends = left if before else None, right if after else None
            found &= within(*ends, offset=self.start)
        if self.counted:
            found &= key_lengths()
        return found if self.masked is None else found & given(self.masked)

    def spec(self, upto: int = WEIGHTS, normaliser: Normaliser | None = None) -> Spec:
        """The spec, its scores as they are at a stage."""
        biased = self.biased is not None and upto >= BIASED
        used = {scale: self.scaled, cap: self.capped and upto >= CAPPED}
        used |= dict(zip((left, right), self.bounded, strict=True))
        return attention(
            "onnx_attention",
            heads=grouped() if self.shared else standard(),
            scale=scale if self.scaled else None,
            cap=cap if used[cap] else None,
            bias=additive_bias(self.biased or ()) if biased else (),
            mask=self.mask,
            normaliser=normaliser,
            cache=self.cached,
            parameters=[number for number, there in used.items() if there],
        )


@cache
def attention_parts(choices: Choices, mode: int) -> tuple[tuple[Spec, dict[str, str]], ...]:
    """Specs and the node's outputs that they give; scores of an early stage have their own."""
    whole = {"Y": "O"}
    if choices.cached:
        whole |= {"present_key": "K_all", "present_value": "V_all"}
    if mode == WEIGHTS:
        whole["qk_matmul_output"] = "A"
    parts = [(choices.spec(), whole)]
    if mode != WEIGHTS:
        parts.append((choices.spec(upto=mode), {"qk_matmul_output": "S"}))
    return tuple((spec.replace(outputs=tuple(names.values())), names) for spec, names in parts)


@cache
def seen_keys(choices: Choices) -> Spec:
    """Which keys a query sees, as numbers."""
    return choices.spec(BIASED, SEEN).replace(outputs=("A",))


def attention_ties(
    attributes: Mapping[str, Any], inputs: Arrays, wanted: Iterable[str]
) -> list[Tie]:
    """The specs that an Attention node computes, one or two, with the wanted outputs of each.

    Inputs and outputs go by the names of the operator's schema. `softmax_precision` changes no
    equation. A float mask of minus infinity hides a key, as a boolean mask of False does.
    """
    arrays = attention_arrays(attributes, inputs)
    sides = [attributes.get(f"{side}_window_size", -1) for side in ("left", "right")]
    choices = Choices(
        shared=arrays["Q"].shape[1] != arrays["K"].shape[1],
        scaled="scale" in attributes,
        capped=attributes.get("softcap", 0) > 0,
        ordered=bool(attributes.get("is_causal", 0)),
        cached="K_past" in arrays,
        counted="lengths" in arrays,
        bounded=(sides[0] >= 0, sides[1] >= 0),
        masked=left_out(arrays.get("mask")),
        biased=left_out(arrays.get("bias")),
    )
    values = {"scale": attributes.get("scale"), "cap": attributes.get("softcap")}
    values |= dict(zip(("left", "right"), sides, strict=True))
    mode = attributes.get("qk_matmul_output_mode", RAW)
    layout = {"Y": "b n (h d)"} if inputs["Q"].ndim == 3 else {}
    ties = []
    for spec, names in attention_parts(choices, mode):
        outputs = {name: tensor for name, tensor in names.items() if name in wanted}
        if outputs:
            seen = seen_keys(choices) if mode == BIASED and "S" in outputs.values() else None
            ties.append(tied(spec, outputs, arrays, values, layout=layout, seen=seen))
    return ties


def tied(
    spec: Spec, outputs: Mapping[str, str], arrays: Arrays, values: Mapping[str, Any], **how: Any
) -> Tie:
    """A tie with the arrays that its spec reads, without the axes that it leaves out."""
    found = {}
    for entry in spec.inputs:
        array = arrays[entry.tensor.name]
        gone = tuple(n for n, size in enumerate(array.shape) if size == 1)
        short = array.ndim > len(entry.places)
        found[entry.tensor.name] = np.squeeze(array, gone) if short else array
    numbers = {number.name: values[number.name] for number in spec.parameters}
    return Tie(spec, outputs, found, numbers, **how)


def attention_arrays(attributes: Mapping[str, Any], inputs: Arrays) -> dict[str, Array]:
    """The node's inputs by the composer's names, each with all its axes."""
    counts = {"Q": "q_num_heads", "K": "kv_num_heads", "V": "kv_num_heads"}
    found = {name: split_heads(inputs[name], attributes.get(counts[name])) for name in counts}
    renamed = {"past_key": "K_past", "past_value": "V_past", "nonpad_kv_seqlen": "lengths"}
    found |= {name: inputs[old] for old, name in renamed.items() if old in inputs}
    if "lengths" in found:
        found["offset"] = found["lengths"] - found["Q"].shape[2]
    if "attn_mask" in inputs:
        keys = sum(found[name].shape[2] for name in ("K", "K_past") if name in found)
        found |= masks(inputs["attn_mask"], keys)
    return found


def split_heads(array: Array, heads: int | None) -> Array:
    """Batch, heads, positions, channels: heads are merged with the channels of three axes."""
    if array.ndim == 4:
        return array
    return einops.rearrange(array, "b n (h d) -> b h n d", h=heads)


def masks(array: Array, keys: int) -> dict[str, Array]:
    """A boolean mask, or a bias and the mask of its finite entries; later keys are hidden."""
    hidden = False if array.dtype == np.bool_ else -np.inf
    fill = np.full((*array.shape[:-1], keys - array.shape[-1]), hidden, array.dtype)
    whole = np.concatenate([array, fill], axis=-1)
    whole = whole.reshape((1,) * (4 - whole.ndim) + whole.shape)
    if whole.dtype == np.bool_:
        return {"mask": whole}
    finite = whole != -np.inf
    bias = np.where(finite, whole, np.zeros_like(whole))
    return {"bias": bias} if finite.all() else {"bias": bias, "mask": finite}


def left_out(array: Array | None) -> tuple[str, ...] | None:
    """The axes of the scores that an array is broadcast along; None without an array."""
    if array is None:
        return None
    names = ("batch", "heads", "queries", "keys")
    return tuple(name for name, size in zip(names, array.shape, strict=True) if size == 1)


@cache
def rotary_embedding(pairing: str) -> Spec:
    """The rotation of X (batch, heads, time, key_dim) by tables of cosines and sines."""
    turn = rope(pairing, tables=True, positions="input")
    t = Axis("time")["t"]
    heads = standard()
    channel = turn.channels or Axis("key_dim")["k"]
    site = Site(Axis("batch")["b"], heads.query, heads.key, t, t, channel, Axis("value_dim")["c"])
    X = Tensor("X")[(site.b, *heads.query, t, channel)]
    part = turn.turn(site, X, t)
    return Spec("rotary_embedding", [X, *part.inputs], part.equations, ["X_r"])


def rotary_tie(attributes: Mapping[str, Any], inputs: Arrays) -> Tie:
    """The spec of a RotaryEmbedding node; caches of a row per token are tables read in order.

    `rotary_embedding_dim` is twice the number of columns of the caches.
    """
    X = split_heads(inputs["X"], attributes.get("num_heads"))
    cos, sin = inputs["cos_cache"], inputs["sin_cache"]
    tokens = np.arange(X.shape[0] * X.shape[2]).reshape(X.shape[0], X.shape[2])
    arrays = {
        "X": X,
        "cos": cos.reshape(-1, cos.shape[-1]),
        "sin": sin.reshape(-1, sin.shape[-1]),
        "position_ids": inputs.get("position_ids", tokens),
    }
    spec = rotary_embedding("interleaved" if attributes.get("interleaved", 0) else "half")
    layout = {"Y": "b n (h d)"} if inputs["X"].ndim == 3 else {}
    return tied(spec, {"Y": "X_r"}, arrays, {}, layout=layout)
