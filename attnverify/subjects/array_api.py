"""Subjects of any array library that keeps to the array API standard, forward only.

The standard is https://data-apis.org/array-api/; arrays come back by DLPack.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from importlib import import_module
from typing import Any, ClassVar

import array_api_compat
import numpy as np
from numpy.typing import NDArray

from attnverify.compare import same_bits
from attnverify.errors import MissingExtraError, ParameterError
from attnverify.subjects.base import ForwardOnly, Plan, guarded, on_device, returned
from attnverify.verdict import Status

Array = NDArray[Any]

# Array libraries that an extra of ours brings.
EXTRAS = ("torch", "jax", "dask")


class ArrayApiSubject(ForwardOnly):
    """A function of one library's arrays; NumPy's where the plan names no library.

    Raises MissingExtraError where the library is not installed, ParameterError where it is none of
    the standard, or lacks the type or the device that is asked for.
    """

    framework: ClassVar[str] = "array_api"
    placed: ClassVar[bool] = True

    def __init__(
        self, fn: Callable[..., Any], plan: Plan, vjp: Callable[..., Any] | None = None
    ) -> None:
        super().__init__(fn, plan, vjp)
        self.library = plan.library or "numpy"
        self.module = _imported(self.library)
        self.xp, self.device = self._home()

    def lift(self, array: Array) -> Any:
        """An array of the library with the same bits; ParameterError where it has none such."""
        told = {"device": self.plan.device} if self.plan.device else {}
        try:
            lifted = self.module.asarray(array, **told)
            back = _lowered(lifted)
        except Exception as error:
            raise self._lacking(array.dtype, error) from error
        if same_bits("lifted", back, array).status is not Status.HELD:
            raise self._lacking(array.dtype, back.dtype)
        return lifted

    def lower(self, value: Any, name: str) -> Array:
        """A NumPy array with the same bits, from an array of the same library and device."""
        ours = array_api_compat.is_array_api_obj(value)
        if not ours or array_api_compat.array_namespace(value) is not self.xp:
            raise returned(value, name, f"an array of {self.library}")
        on_device(name, array_api_compat.device(value), self.device)
        found: Array = guarded(_lowered, value)
        return found

    def _home(self) -> tuple[Any, Any]:
        """The library's standard namespace, and the device that its arrays lie on."""
        told = {"device": self.plan.device} if self.plan.device else {}
        try:
            one = self.module.asarray(np.zeros(1, np.float32), **told)
            return array_api_compat.array_namespace(one), array_api_compat.device(one)
        except Exception as error:
            raise ParameterError(
                f"{self.library} gives no arrays of the array API standard",
                found=f"{type(error).__name__}: {error}",
                hint='name the library\'s module, as in "array_api:torch", and a device it has',
            ) from error

    def _lacking(self, dtype: np.dtype[Any], found: object) -> ParameterError:
        return ParameterError(
            f"{self.library} has no arrays of {dtype} through the array API", found=found
        )


def _imported(library: str) -> Any:
    try:
        return import_module(library)
    except ImportError as error:
        top = library.partition(".")[0]
        brings = f'pip install "attnverify[{top}]"' if top in EXTRAS else f"pip install {top}"
        raise MissingExtraError(f"{library} is not installed", hint=brings) from error


def _lowered(value: Any) -> Array:
    """A NumPy array of an array on any device, by DLPack where the library has it."""
    if isinstance(value, np.ndarray | np.generic):
        return np.array(value)
    with contextlib.suppress(AttributeError, BufferError, RuntimeError, TypeError, ValueError):
        return np.array(np.from_dlpack(value))
    # On another device, of a type that DLPack does not carry, or of a library without DLPack.
    with contextlib.suppress(RuntimeError, TypeError, ValueError):
        return np.array(value)
    return np.array(array_api_compat.to_device(value, "cpu"))
