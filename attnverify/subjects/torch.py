"""PyTorch subjects: backward by torch.autograd."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from attnverify.dtypes import EIGHT_BITS, type_name
from attnverify.errors import MissingExtraError, ParameterError
from attnverify.subjects.base import (
    Plan,
    Subject,
    SubjectFault,
    Values,
    askable,
    guarded,
    on_device,
    returned,
)

try:
    import torch
except ImportError as error:  # the extra is not installed
    raise MissingExtraError(
        "PyTorch is not installed", hint='pip install "attnverify[torch]"'
    ) from error

Array = NDArray[Any]


class TorchSubject(Subject):
    """A function of PyTorch tensors."""

    framework: ClassVar[str] = "torch"
    placed: ClassVar[bool] = True
    views: ClassVar[tuple[str, ...]] = ("reordered", "padded", "repeated")

    def __init__(
        self, fn: Callable[..., Any], plan: Plan, vjp: Callable[..., Any] | None = None
    ) -> None:
        super().__init__(fn, plan, vjp)
        name = plan.device or "cpu"
        try:
            self.device = torch.empty(0, device=name).device
        except (RuntimeError, AssertionError) as error:
            raise ParameterError("a device that PyTorch does not have", found=name) from error

    def lift(self, array: Array) -> Any:
        """A tensor with the same bits, bfloat16 and 8-bit types by way of their patterns."""
        if array.dtype == ml_dtypes.bfloat16:
            near = torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
        elif array.dtype.name in EIGHT_BITS:
            near = torch.from_numpy(array.view(np.uint8)).view(getattr(torch, array.dtype.name))
        else:
            near = torch.from_numpy(array)
        return near.to(self.device)

    def lower(self, value: Any, name: str) -> Array:
        """A NumPy array with the same bits."""
        if not isinstance(value, torch.Tensor):
            raise returned(value, name, "a torch.Tensor")
        on_device(name, value.device, self.device)
        if value.layout is not torch.strided:
            raise SubjectFault(f"the subject returned a tensor of layout {value.layout} for {name}")
        plain = value.detach().cpu().contiguous()
        if plain.dtype == torch.bfloat16:
            return np.array(plain.view(torch.int16).numpy()).view(ml_dtypes.bfloat16)
        if type_name(plain.dtype) in EIGHT_BITS:
            return np.array(plain.view(torch.uint8).numpy()).view(type_name(plain.dtype))
        return np.array(plain.numpy())

    def shares(self, value: Any, given: Any) -> bool:
        """Whether they lie in one storage."""
        where = [tensor.untyped_storage().data_ptr() for tensor in (value, given)]
        return bool(where[0] == where[1] != 0)

    def differentiate(
        self, values: Values, seeds: Values, parameters: Values
    ) -> tuple[Values, dict[str, Any]]:
        """Gradients by torch.autograd; None where no gradient flows."""
        leaves = {n: v.requires_grad_() if n in self.plan.real else v for n, v in values.items()}
        outputs = self.plan.named(self.call(leaves, parameters))
        for name, value in outputs.items():
            if not isinstance(value, torch.Tensor):
                raise returned(value, name, "a torch.Tensor")
        askable(outputs, seeds)
        if not any(value.requires_grad for value in outputs.values()):
            raise SubjectFault(
                "what the subject returned has no gradient by any input"
                " (backward=False, --no-backward, declares that it is forward only)"
            )
        inputs = [leaves[name] for name in self.plan.real]
        gradients = guarded(
            torch.autograd.grad,
            list(outputs.values()),
            inputs,
            [seeds[name] for name in outputs],
            allow_unused=True,
        )
        return outputs, dict(zip(self.plan.real, gradients, strict=True))
