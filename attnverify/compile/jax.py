"""What printed source names, on JAX's arrays, in float64 and on any of its devices."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from attnverify.compile import tables, thresholds
from attnverify.errors import MissingExtraError, ParameterError

try:
    import jax
    import jax.numpy as jnp
except ImportError as error:  # the extra is not installed
    raise MissingExtraError("compiling to JAX", extra="jax") from error

# Older versions keep the switch among the experimental ones.
_wide: Any = jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64


class Library:
    """The names that source uses, for one device and one working type."""

    def __init__(self, dtype: str, device: str) -> None:
        self.kind = np.dtype(dtype)
        try:
            self.device = jax.devices(device or "cpu")[0]
        except RuntimeError as error:
            found = sorted({one.platform for one in jax.devices()})
            raise ParameterError(
                "a device that JAX does not have", found=device, due=", ".join(found)
            ) from error

    def scope(self) -> AbstractContextManager[Any]:
        """JAX's 64-bit mode: without it float64 is float32."""
        found: AbstractContextManager[Any] = _wide(True)  # noqa: FBT003  its one argument
        return found

    def kind_of(self, value: Any) -> str:
        """The letter of an array's kind: f, i, u or b."""
        return np.dtype(getattr(value, "dtype", np.asarray(value).dtype)).kind

    def lifted(self, value: Any, kind: str = "real") -> Any:
        """An array on the device; real ones in the working type."""
        plain = np.asarray(value) if not isinstance(value, jax.Array) else value
        return jax.device_put(plain.astype(self.kind) if kind == "real" else plain, self.device)

    def finite(self, value: Any) -> bool:
        """Whether every entry is a finite number."""
        return bool(jnp.isfinite(value).all())

    def inverse(self, value: Any) -> Any:
        """1/x, and 0 where x is 0."""
        x = jnp.asarray(value)
        return jnp.where(x != 0, 1 / jnp.where(x != 0, x, 1), 0)

    def names(self) -> dict[str, Any]:
        """Everything that a source text may name."""

        def host(fn: Any) -> Any:
            return lambda *given: jnp.asarray(
                fn(*(np.asarray(g) if isinstance(g, jax.Array) else g for g in given))
            )

        return {
            "np": jnp,
            "real": self.kind.type,
            "constant": jnp.asarray,
            "inverse": self.inverse,
            "expit": jax.nn.sigmoid,
            "erf": jax.scipy.special.erf,
            "threshold": host(thresholds.begin),
            "alibi_slope": host(tables.alibi_slope),
            "t5_bucket": host(tables.t5_bucket),
        }
