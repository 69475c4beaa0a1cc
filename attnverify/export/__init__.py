"""Export a spec as one readable file: a function of one library, a paper's LaTeX, or JSON."""

from __future__ import annotations

from typing import Any

from attnverify.errors import ParameterError
from attnverify.export.dialects import Dialect
from attnverify.export.file import library_file
from attnverify.export.jax import JAX
from attnverify.export.numpy import NUMPY
from attnverify.export.plain import json_file, latex_file
from attnverify.export.torch import TORCH
from attnverify.library import load
from attnverify.spec import Spec
from attnverify.transforms.gradient import gradient as derived

LIBRARIES: dict[str, Dialect] = {"numpy": NUMPY, "torch": TORCH, "jax": JAX}
KINDS = (*LIBRARIES, "latex", "json")


def export(spec: str | Spec, *, to: str, gradient: bool = False, **params: Any) -> str:
    """The text of one file that computes a spec and needs one library alone.

    `to` is numpy, torch or jax; or latex or json, for the equations themselves. With `gradient`
    the file has the derived gradient too: a function `NAME_gradient`, which in PyTorch and JAX is
    the backward pass of `NAME`. Other keywords choose the spec's member and give its parameters
    values; a parameter left open is a keyword of the function.

    Raises LoadError where the spec does not load, ParameterError for another `to`,
    UnknownPrimitiveError or SpecError for a spec that the library cannot write.

    >>> text = export("causal", to="numpy")
    >>> [line for line in text.splitlines() if line.startswith("def ")][-1]
    'def causal(Q, K, V):'
    """
    if to not in KINDS:
        raise ParameterError("an unknown kind of file", found=repr(to), due=", ".join(KINDS))
    found = load(spec, **params)
    backward = derived(found) if gradient else None
    if to == "latex":
        return latex_file(found, backward)
    if to == "json":
        return json_file(found, backward)
    return library_file(found, backward, LIBRARIES[to])


__all__ = ["KINDS", "LIBRARIES", "export"]
