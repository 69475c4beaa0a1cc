"""MLX subjects: backward by mlx.core.vjp, on the CPU unless a device is named."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, ClassVar

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from attnverify.errors import MissingExtraError, ParameterError
from attnverify.subjects.base import Plan, Subject, Values, askable, guarded, returned

try:
    import mlx.core as mx
except ImportError as error:  # the extra is not installed
    raise MissingExtraError("MLX is not installed", hint='pip install "attnverify[mlx]"') from error

Array = NDArray[Any]
DEVICES = {"cpu": mx.cpu, "gpu": mx.gpu}


class MlxSubject(Subject):
    """A function of MLX arrays; an array has no device of its own, so its stream's is set."""

    framework: ClassVar[str] = "mlx"
    placed: ClassVar[bool] = True

    def __init__(
        self, fn: Callable[..., Any], plan: Plan, vjp: Callable[..., Any] | None = None
    ) -> None:
        super().__init__(fn, plan, vjp)
        name = plan.device or "cpu"
        if name not in DEVICES or not mx.is_available(DEVICES[name]):
            raise ParameterError("a device that MLX does not have", found=name)
        # Its float64 exists on the CPU alone.
        self.device = DEVICES[name]

    def scope(self) -> Any:
        """Quiet, and on the device that was asked for."""
        stack = contextlib.ExitStack()
        stack.enter_context(super().scope())
        stack.enter_context(mx.stream(self.device))
        return stack

    def lift(self, array: Array) -> Any:
        """An MLX array with the same bits, bfloat16 by way of its 16-bit patterns."""
        if array.dtype == ml_dtypes.bfloat16:
            return mx.array(array.view(np.uint16)).view(mx.bfloat16)
        wide = {"dtype": mx.float64} if array.dtype == np.float64 else {}
        return mx.array(array, **wide)

    def lower(self, value: Any, name: str) -> Array:
        """A NumPy array with the same bits; what fails when it is computed at last is a fault."""
        if not isinstance(value, mx.array):
            raise returned(value, name, "an mlx.core.array")
        if value.dtype == mx.bfloat16:
            bits: Array = guarded(np.array, value.view(mx.uint16))
            return bits.view(ml_dtypes.bfloat16)
        found: Array = guarded(np.array, value)
        return found

    def differentiate(
        self, values: Values, seeds: Values, parameters: Values
    ) -> tuple[Values, dict[str, Any]]:
        """Gradients by mlx.core.vjp."""
        names: list[str] = []

        def run(*real: Any) -> list[Any]:
            whole = {**values, **dict(zip(self.plan.real, real, strict=True))}
            outputs = self.plan.named(self.call(whole, parameters))
            for name, value in outputs.items():
                if not isinstance(value, mx.array):
                    raise returned(value, name, "an mlx.core.array")
            askable(outputs, seeds)
            names[:] = outputs
            return list(outputs.values())

        # MLX asks for the cotangents first; they go in the order in which outputs are judged.
        due = [seeds[name] for name in self.plan.judged]
        outputs, gradients = guarded(mx.vjp, run, [values[n] for n in self.plan.real], due)
        return dict(zip(names, outputs, strict=True)), dict(
            zip(self.plan.real, gradients, strict=True)
        )
