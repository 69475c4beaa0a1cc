"""What printed source names, on PyTorch's tensors, in float64 and on any of its devices.

PyTorch's rules for numbers beside tensors differ from NumPy's: a plain number takes its default
type, which is float32.  So every number becomes a tensor of the working type first.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from types import SimpleNamespace
from typing import Any

import numpy as np

from attnverify.compile import tables, thresholds
from attnverify.errors import MissingExtraError, ParameterError

try:
    import torch
except ImportError as error:  # the extra is not installed
    raise MissingExtraError("compiling to PyTorch", extra="torch") from error

SAME = (
    "exp", "log", "sqrt", "square", "tanh", "sin", "cos", "sign", "isneginf", "logical_not",
)  # fmt: skip
PAIRS = (
    "add", "subtract", "multiply", "maximum", "logical_and", "logical_or", "less", "less_equal",
    "greater", "greater_equal", "equal", "not_equal",
)  # fmt: skip
NAMED = {"equal": "eq", "not_equal": "ne"}


class Library:
    """The names that source uses, for one device and one working type."""

    def __init__(self, dtype: str, device: str) -> None:
        self.kind = getattr(torch, dtype)
        try:
            self.device = torch.empty(0, device=device or "cpu").device
        except (RuntimeError, AssertionError) as error:
            raise ParameterError(
                "a device that PyTorch does not have", found=device, due=_devices()
            ) from error

    def scope(self) -> AbstractContextManager[Any]:
        """Without a graph: nothing is differentiated here."""
        found: AbstractContextManager[Any] = torch.no_grad()
        return found

    def kind_of(self, value: Any) -> str:
        """The letter of an array's kind: f, i, u or b."""
        if not isinstance(value, torch.Tensor):
            return np.asarray(value).dtype.kind
        return "f" if value.is_floating_point() else "b" if value.dtype == torch.bool else "i"

    def lifted(self, value: Any, kind: str = "real") -> Any:
        """An array or tensor on the device; real ones in the working type."""
        plain = value if isinstance(value, torch.Tensor) else torch.from_numpy(np.array(value))
        return plain.to(self.device, self.kind if kind == "real" else None)

    def finite(self, value: Any) -> bool:
        """Whether every entry is a finite number."""
        return bool(torch.isfinite(value).all())

    def lowered(self, value: Any) -> Any:
        """A tensor on the host, for what is computed there."""
        return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else value

    def tensor(self, value: Any) -> Any:
        """A tensor as it is; a number as one, a floating one of the working type."""
        if isinstance(value, torch.Tensor):
            return value
        kind = self.kind if isinstance(value, float | np.floating) else None
        return torch.as_tensor(value, dtype=kind, device=self.device)

    def real(self, value: Any) -> Any:
        """A number of the working type."""
        return torch.as_tensor(float(value), dtype=self.kind, device=self.device)

    def array(self, value: Any, dtype: Any = None) -> Any:
        """A tensor; of the working type where one is named."""
        found = self.tensor(value)
        return found if dtype is None else found.to(self.kind)

    def alike(self, *values: Any) -> list[Any]:
        """Tensors of one type: what PyTorch multiplies has no other."""
        found = [self.tensor(value) for value in values]
        kind = found[0].dtype
        for one in found[1:]:
            kind = torch.promote_types(kind, one.dtype)
        return [one.to(kind) for one in found]

    def inverse(self, value: Any) -> Any:
        """1/x, and 0 where x is 0."""
        x = self.tensor(value)
        x = x if x.is_floating_point() else x.to(self.kind)
        safe = torch.where(x != 0, x, torch.ones_like(x))
        return torch.where(x != 0, 1 / safe, torch.zeros_like(x))

    def names(self) -> dict[str, Any]:
        """Everything that a source text may name."""

        def one(name: str) -> Any:
            return lambda x: getattr(torch, name)(self.tensor(x))

        def two(name: str) -> Any:
            made = getattr(torch, NAMED.get(name, name))
            return lambda x, y: made(self.tensor(x), self.tensor(y))

        def host(fn: Any) -> Any:
            return lambda *given: self.tensor(
                np.asarray(fn(*(np.float64 if g == self.real else self.lowered(g) for g in given)))
            )

        library = SimpleNamespace(
            **{name: one(name) for name in SAME},
            **{name: two(name) for name in PAIRS},
            inf=float("inf"),
            array=self.array,
            negative=one("neg"),
            absolute=one("abs"),
            power=two("pow"),
            floor_divide=two("floor_divide"),
            where=lambda keep, x, y: torch.where(keep, *self.alike(x, y)),
            matmul=lambda x, y: torch.matmul(*self.alike(x, y)),
            einsum=lambda text, *given: torch.einsum(text, *self.alike(*given)),
            sum=lambda x, axis: torch.sum(self.tensor(x), dim=axis),
            max=lambda x, axis: torch.amax(self.tensor(x), dim=axis),
            swapaxes=torch.swapaxes,
            transpose=torch.permute,
            broadcast_to=lambda x, shape: torch.broadcast_to(self.tensor(x), shape),
            stack=torch.stack,
            zeros=lambda shape: torch.zeros(shape, dtype=self.kind, device=self.device),
            arange=lambda count: torch.arange(count, device=self.device),
        )
        return {
            "np": library,
            "real": self.real,
            "constant": self.tensor,
            "inverse": self.inverse,
            "expit": one("sigmoid"),
            "erf": one("erf"),
            "threshold": host(thresholds.begin),
            "alibi_slope": host(tables.alibi_slope),
            "t5_bucket": host(tables.t5_bucket),
        }


def _devices() -> str:
    return "cpu" + (", cuda" if torch.cuda.is_available() else "; this machine shows no GPU")
