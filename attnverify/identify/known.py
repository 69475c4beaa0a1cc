"""Attention functions of libraries, and how each is called: the columns of the support table."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any


@dataclass(frozen=True)
class Known:
    """A function that a library brings: its name there, the call, and what makes it.

    `make` imports the library, and is asked only where it is installed; `call` are keywords of
    `identify`.

    >>> {one.package for one in KNOWN if one.framework == "keras"}
    {'keras'}
    """

    title: str
    package: str
    framework: str
    make: Callable[[], Any]
    call: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The library and the function."""
        return f"{self.package}: {self.title}"

    @property
    def installed(self) -> bool:
        """Whether its library can be imported."""
        return find_spec(self.package) is not None


def _torch() -> Any:
    import torch

    return torch.nn.functional.scaled_dot_product_attention


def _torch_lower_right() -> Any:
    import torch
    from torch.nn.attention.bias import causal_lower_right

    def attention(q: Any, k: Any, v: Any) -> Any:
        mask = causal_lower_right(q.shape[-2], k.shape[-2])
        return torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)

    return attention


def _jax() -> Any:
    import jax

    return jax.nn.dot_product_attention


def _keras() -> Any:
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import keras

    return keras.ops.dot_product_attention


def _mlx(**given: Any) -> Callable[[], Any]:
    def make() -> Any:
        from mlx.core import fast

        def attention(q: Any, k: Any, v: Any, mask: Any = None) -> Any:
            # The scale has no default there.
            told = {"scale": q.shape[-1] ** -0.5, "mask": mask, **given}
            return fast.scaled_dot_product_attention(q, k, v, **told)

        def unmasked(q: Any, k: Any, v: Any) -> Any:
            return attention(q, k, v)

        return unmasked if "mask" in given else attention

    return make


def _onnx(**attributes: Any) -> Callable[[], Any]:
    def make() -> Any:
        from onnx import TensorProto, helper

        node = helper.make_node("Attention", ["Q", "K", "V"], ["Y"], **attributes)
        inputs, (output,) = (
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * 4) for name in names]
            for names in ("QKV", "Y")
        )
        graph = helper.make_graph([node], "attention", inputs, [output])
        opset = helper.make_opsetid("", 23)
        return helper.make_model(graph, opset_imports=[opset], ir_version=10)

    return make


_BNHD = {"layout": "b n h d"}
_SDPA = "scaled_dot_product_attention"
KNOWN: tuple[Known, ...] = (
    Known(_SDPA, "torch", "torch", _torch),
    Known(f"{_SDPA}(is_causal=True)", "torch", "torch", _torch, {"kwargs": {"is_causal": True}}),
    Known(f"{_SDPA}(attn_mask=causal_lower_right)", "torch", "torch", _torch_lower_right),
    Known("dot_product_attention", "jax", "jax", _jax, _BNHD),
    Known(
        "dot_product_attention(is_causal=True)", "jax", "jax", _jax,
        {**_BNHD, "kwargs": {"is_causal": True}},
    ),
    Known("ops.dot_product_attention", "keras", "keras", _keras, _BNHD),
    Known(f"fast.{_SDPA}", "mlx", "mlx", _mlx()),
    Known(f'fast.{_SDPA}(mask="causal")', "mlx", "mlx", _mlx(mask="causal")),
    Known("Attention-23, reference evaluator", "onnx", "onnx", _onnx()),
    Known("Attention-23(is_causal=1), reference evaluator", "onnx", "onnx", _onnx(is_causal=1)),
    Known("Attention-23", "onnxruntime", "onnxruntime", _onnx()),
    Known("Attention-23(is_causal=1)", "onnxruntime", "onnxruntime", _onnx(is_causal=1)),
)  # fmt: skip
