"""What a bare node leaves open, told by the spec that was made of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from attnverify.algebra.terms import Entry
from attnverify.onnx.masks import SCORES
from attnverify.onnx.node import library
from attnverify.spec import Spec

# Shared heads are two axes of a spec and one of an array.
_HEADS = ("heads", "group", "repeat")


def types_by(spec: Spec, node: Any) -> dict[str, Any]:
    """Arrays of the types and forms that a node's inputs have in `spec`, by their names.

    A mask has four axes, of size 1 where the spec's has none; a decay or a strength of writing has
    as many numbers per step as the spec reads.

    >>> import numpy as np
    >>> from onnx import helper
    >>> from attnverify.onnx import from_onnx
    >>> node = helper.make_node("Attention", ["Q", "K", "V", "keep"], ["Y"])
    >>> spec = from_onnx(node, types={"keep": np.ones((4, 6), bool)})
    >>> types_by(spec, node)["keep"].shape
    (1, 1, 2, 2)
    """
    entries = {entry.tensor.name: entry for entry in spec.inputs}
    slots = zip(library().defs.get_schema(node.op_type).inputs, node.input, strict=False)
    names = {slot.name: name for slot, name in slots if name}
    return {names[slot]: array for slot, array in _forms(entries, node) if slot in names}


def _forms(entries: dict[str, Entry], node: Any) -> Iterator[tuple[str, Any]]:
    """Each input whose form a spec tells, by the names of the operators' schemas."""
    if "mask" in entries or "bias" in entries:
        entry = entries.get("bias", entries.get("mask"))
        axes = {"heads" if i.axis.name in _HEADS else i.axis.name for i in _indices(entry)}
        shape = tuple(2 if axis in axes or axis == "keys" else 1 for axis in SCORES)
        yield "attn_mask", np.ones(shape, np.float32 if "bias" in entries else np.bool_)
    counts = {attribute.name: attribute.i for attribute in node.attribute}
    heads = int(counts.get("kv_num_heads", 1))
    if "g" in entries:
        by_channel = len(entries["g"].places) > 3
        yield "decay", np.ones((1, 1, heads * (2 if by_channel else 1)), np.float32)
    if "beta" in entries:
        shared = len(entries["beta"].places) < 3
        yield "beta", np.ones((1, 1, 1 if shared else heads), np.float32)


def _indices(entry: Entry | None) -> Iterator[Any]:
    for place in entry.places if entry is not None else ():
        yield from place if isinstance(place, tuple) else (place,)
