"""NumPy subjects: backward by a given VJP, or by autograd where it can trace the function."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from autograd.builtins import list as boxed_list
from autograd.core import make_vjp
from autograd.tracer import isbox
from numpy.typing import NDArray

from attnverify.subjects.base import (
    Subject,
    SubjectFault,
    Values,
    askable,
    guarded,
    returned,
)
from attnverify.subjects.views import VIEWS

Array = NDArray[Any]

NOT_TRACEABLE = "backward is not judged: no VJP was given, and autograd cannot trace the function"


class NumpySubject(Subject):
    """A function of NumPy arrays."""

    framework: ClassVar[str] = "numpy"
    views: ClassVar[tuple[str, ...]] = tuple(VIEWS)

    def lift(self, array: Array) -> Array:
        """The array itself."""
        return array

    def lower(self, value: Any, name: str) -> Array:
        """The array itself, copied so that a later call cannot change it."""
        if not isinstance(value, np.ndarray | np.generic):
            raise returned(value, name, "a NumPy array")
        return np.array(value)

    def _after(self, values: Values) -> dict[str, Array]:
        """The inputs themselves: they are looked at before another call could change them."""
        return dict(values)

    def shares(self, value: Any, given: Any) -> bool:
        """Whether their memory overlaps."""
        return isinstance(value, np.ndarray) and np.may_share_memory(value, given)

    def backward_reason(self, arrays: Mapping[str, Array], parameters: Values) -> str:
        """Empty with a VJP, or where autograd can trace the function."""
        if self.vjp is not None:
            return ""
        with self.scope():
            values = self._lifted(self.laid(arrays))
            try:
                self._traced(values, parameters)
            except Exception:  # noqa: BLE001  tracing may fail in any way
                return NOT_TRACEABLE
        return ""

    def differentiate(
        self, values: Values, seeds: Values, parameters: Values
    ) -> tuple[Values, dict[str, Any]]:
        """Gradients by autograd."""
        outputs, pull = self._traced(values, parameters)
        askable(outputs, seeds)
        gradients = guarded(pull, [seeds[name] for name in outputs])
        return outputs, dict(zip(self.plan.real, gradients, strict=True))

    def _traced(self, values: Values, parameters: Values) -> tuple[dict[str, Any], Any]:
        names: list[str] = []

        def run(real: Any) -> Any:
            whole = {**values, **dict(zip(self.plan.real, real, strict=True))}
            outputs = self.plan.named(self.call(whole, parameters))
            for value in outputs.values():
                # A plain array under tracing means that NumPy itself swallowed the trace.
                if not isbox(value) or value.dtype.kind not in "fV":
                    raise SubjectFault(NOT_TRACEABLE)
            names[:] = outputs
            return boxed_list(list(outputs.values()))

        pull, outputs = make_vjp(run, [values[name] for name in self.plan.real])
        return dict(zip(names, outputs, strict=True)), pull
