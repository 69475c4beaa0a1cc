"""The input `attn_mask`: which keys a query sees, and with real entries what is added to scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from attnverify.attention import Mask, given
from attnverify.errors import ShapeError
from attnverify.onnx.bound import Array, Arrays
from attnverify.onnx.node import Node, Shape

REAL = ("float16", "bfloat16", "float32", "float64")
SCORES = ("batch", "heads", "queries", "keys")


@dataclass(frozen=True)
class MaskWire:
    """`attn_mask` as the tensors `mask` and, where it is real, `bias`: minus infinity hides a key.

    `shape` is the declared one, of one to four axes that are aligned with the last of the scores;
    `keys` names the arrays whose lengths sum to the number of keys. A mask along the keys that is
    shorter than they are hides the rest.
    """

    name: str
    shape: Shape
    real: bool
    keys: tuple[str, ...]

    @property
    def left_out(self) -> tuple[str, ...]:
        """The axes of the scores that it is broadcast along, never the keys'."""
        whole = (*(1,) * (4 - len(self.shape)), *self.shape[:-1])
        return tuple(axis for axis, size in zip(SCORES[:-1], whole, strict=True) if size == 1)

    @property
    def mask(self) -> Mask:
        """The boolean part as a stage of the pipeline."""
        return given(self.left_out)

    def inward(self, arrays: Arrays) -> dict[str, Array]:
        """The boolean mask and the bias, 0 where a key is hidden, over all keys.

        Raises ShapeError for another number of axes or more keys than there are.
        """
        array = np.asarray(arrays[self.name])
        keys = sum(np.shape(arrays[name])[-2] for name in self.keys)
        if array.ndim != len(self.shape) or array.shape[-1] > keys:
            raise ShapeError(
                f"the input '{self.name}' (attn_mask) does not fit the scores",
                found=array.shape,
                due=f"{len(self.shape)} axes, the last of at most {keys} keys",
            )
        hidden = -np.inf if self.real else False
        rest = np.full((*array.shape[:-1], keys - array.shape[-1]), hidden, array.dtype)
        whole = self._kept(np.concatenate([array, rest], axis=-1))
        if not self.real:
            return {"mask": whole}
        seen = whole != -np.inf
        return {"bias": np.where(seen, whole, np.zeros_like(whole)), "mask": seen}

    def outward(self, laid: Arrays) -> Array:
        """The node's array, minus infinity where a real mask hides a key."""
        mask = laid.get("mask")
        if not self.real:
            return self._spread(laid["mask"])
        bias = laid["bias"]
        hidden = np.array(-np.inf).astype(bias.dtype)
        return self._spread(bias if mask is None else np.where(mask, bias, hidden))

    def _kept(self, array: Array) -> Array:
        """The array without the axes that it is broadcast along."""
        names = SCORES[4 - array.ndim :]
        gone = tuple(n for n, name in enumerate(names) if name in self.left_out)
        return np.squeeze(array, gone)

    def _spread(self, array: Array) -> Array:
        """The array with its axes of size 1 again, as many as declared."""
        names = SCORES[4 - len(self.shape) :]
        places = [n for n, name in enumerate(names) if name in self.left_out]
        return np.expand_dims(array, places)


def mask_wire(node: Node, keys: tuple[str, ...]) -> MaskWire | None:
    """The mask of an Attention node, None without one; ParameterError where its type is unknown."""
    if "attn_mask" not in node.inputs:
        return None
    told = node.inputs["attn_mask"]
    if not told.dtype:
        raise node.known("attn_mask", "type", "a boolean mask is another spec than a real one")
    if told.dtype not in ("bool", *REAL):
        raise node.refused(
            "attn_mask is boolean, or real and added to the scores",
            found=told.dtype,
            due=f"bool, {', '.join(REAL)}",
            hint="cast the mask to one of these",
        )
    if told.shape is None:
        raise node.known("attn_mask", "shape", "it says along which axes a mask is broadcast")
    if not 1 <= len(told.shape) <= len(SCORES):
        raise node.refused(
            "attn_mask has one to four axes", found=len(told.shape), hint="reshape the mask"
        )
    return MaskWire(told.name, told.shape, told.dtype != "bool", keys)
