"""JAX subjects: backward by jax.vjp; float64 runs under JAX's 64-bit mode."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from attnverify.errors import MissingExtraError, ParameterError
from attnverify.subjects.base import (
    Plan,
    Subject,
    Values,
    askable,
    guarded,
    on_device,
    returned,
)

try:
    import jax
    import jax.numpy as jnp
except ImportError as error:  # the extra is not installed
    raise MissingExtraError("JAX is not installed", hint='pip install "attnverify[jax]"') from error

Array = NDArray[Any]
# Older versions keep the switch among the experimental ones.
_wide: Any = jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64


class JaxSubject(Subject):
    """A function of JAX arrays."""

    framework: ClassVar[str] = "jax"
    immutable: ClassVar[bool] = True
    placed: ClassVar[bool] = True

    def __init__(
        self, fn: Callable[..., Any], plan: Plan, vjp: Callable[..., Any] | None = None
    ) -> None:
        super().__init__(fn, plan, vjp)
        try:
            named = jax.devices(plan.device)[:1] if plan.device else jnp.zeros(()).devices()
        except RuntimeError as error:
            raise ParameterError("a device that JAX does not have", found=plan.device) from error
        self.device = next(iter(named))

    def scope(self) -> Any:
        """Quiet, and in 64-bit mode where the subject's type asks for it."""
        stack = contextlib.ExitStack()
        stack.enter_context(super().scope())
        if "float64" in (self.plan.dtype, *self.plan.types.values()):
            stack.enter_context(_wide(new_val=True))
        return stack

    def lift(self, array: Array) -> Any:
        """A JAX array with the same bits."""
        return jax.device_put(jnp.asarray(array), self.device if self.plan.device else None)

    def lower(self, value: Any, name: str) -> Array:
        """A NumPy array with the same bits."""
        if not isinstance(value, jax.Array):
            raise returned(value, name, "a jax.Array")
        on_device(name, value.devices(), {self.device})
        return np.array(value)

    def differentiate(
        self, values: Values, seeds: Values, parameters: Values
    ) -> tuple[Values, dict[str, Any]]:
        """Gradients by jax.vjp."""
        names: list[str] = []

        def run(*real: Any) -> list[Any]:
            whole = {**values, **dict(zip(self.plan.real, real, strict=True))}
            outputs = self.plan.named(self.call(whole, parameters))
            for name, value in outputs.items():
                if not isinstance(value, jax.Array):
                    raise returned(value, name, "a jax.Array")
            names[:] = outputs
            return list(outputs.values())

        outputs, pull = guarded(jax.vjp, run, *(values[name] for name in self.plan.real))
        askable(dict(zip(names, outputs, strict=True)), seeds)
        gradients = guarded(pull, [seeds[name] for name in names])
        return dict(zip(names, outputs, strict=True)), dict(
            zip(self.plan.real, gradients, strict=True)
        )
