"""Libraries other than NumPy that printed source runs on, each loaded where it is asked for."""

from __future__ import annotations

from contextlib import AbstractContextManager
from importlib import import_module
from typing import Any, Protocol

LIBRARIES = ("torch", "jax")


class Library(Protocol):
    """What source is run on where it is not NumPy: arrays of another library, on its device."""

    def scope(self) -> AbstractContextManager[Any]:
        """The settings under which it computes."""

    def kind_of(self, value: Any) -> str:
        """The letter of an array's kind: f, i, u or b."""

    def lifted(self, value: Any, kind: str = "real") -> Any:
        """An array on the device; real ones in the working type."""

    def finite(self, value: Any) -> bool:
        """Whether every entry is a finite number."""

    def names(self) -> dict[str, Any]:
        """Everything that a source text may name."""


def library(backend: str, dtype: str, device: str) -> Library | None:
    """The library that a backend computes with, where it is another than NumPy."""
    if backend not in LIBRARIES:
        return None
    module = import_module(f"attnverify.compile.{backend}")  # loads where it is asked for
    found: Library = module.Library(dtype, device)
    return found
