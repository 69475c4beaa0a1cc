"""Keras subjects on the JAX backend: backward by jax.vjp, float64 under JAX's 64-bit mode."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, ClassVar

from attnverify.errors import MissingExtraError, ParameterError
from attnverify.subjects.base import Plan
from attnverify.subjects.jax import JaxSubject

# Keras reads its backend when it is first imported; a choice that stands is left alone.
os.environ.setdefault("KERAS_BACKEND", "jax")

try:
    import keras
except ImportError as error:  # the extra is not installed, or the backend is not
    backend = os.environ["KERAS_BACKEND"]
    raise MissingExtraError(
        f"Keras does not import with its backend {backend}",
        hint='pip install "attnverify[keras,jax]" and set KERAS_BACKEND=jax',
    ) from error


class KerasSubject(JaxSubject):
    """A function or a layer of Keras, called with JAX arrays as its backend gives them.

    Raises ParameterError where Keras runs on another backend.
    """

    framework: ClassVar[str] = "keras"

    def __init__(
        self, fn: Callable[..., Any], plan: Plan, vjp: Callable[..., Any] | None = None
    ) -> None:
        found = keras.backend.backend()
        if found != "jax":
            raise ParameterError(
                "Keras is judged on its JAX backend",
                found=found,
                due="jax",
                hint="set KERAS_BACKEND=jax before Keras is imported",
            )
        super().__init__(fn, plan, vjp)
