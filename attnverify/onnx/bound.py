"""A node bound to its spec: which array of the node is which tensor, and how it is laid out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import einops
import numpy as np
from numpy.typing import NDArray

from attnverify.errors import ParameterError, ShapeError
from attnverify.onnx.node import Node
from attnverify.spec import Spec

Array = NDArray[Any]
Arrays = Mapping[str, Array]


class Wire(Protocol):
    """One input of a node and the tensors of the spec that it holds."""

    @property
    def name(self) -> str:
        """The input's name in the graph."""

    def inward(self, given: Arrays) -> dict[str, Array]:
        """The spec's tensors, from the node's arrays by their names in the graph."""

    def outward(self, laid: Arrays) -> Array:
        """The node's array, from tensors that are laid out as the node has them."""


@dataclass(frozen=True)
class Plain:
    """An input that is one tensor; `layout` and `order` are the node's axes and the spec's."""

    name: str
    tensor: str
    layout: str = ""
    order: str = ""
    heads: int | None = None

    def inward(self, given: Arrays) -> dict[str, Array]:
        """The tensor, its merged heads taken apart; ShapeError where they cannot be."""
        array = np.asarray(given[self.name])
        if not self.layout:
            return {self.tensor: array}
        known = {} if self.heads is None or "(h" not in self.layout else {"h": self.heads}
        try:
            moved = einops.rearrange(array, f"{self.layout} -> {self.order}", **known)
        except einops.EinopsError as error:
            raise ShapeError(
                f"the input '{self.name}' is not laid out as its node says",
                found=array.shape,
                due=f"{self.layout}" + (f", h={self.heads}" if known else ""),
            ) from error
        return {self.tensor: np.asarray(moved)}

    def outward(self, laid: Arrays) -> Array:
        """The tensor, as it is laid."""
        return laid[self.tensor]


@dataclass(frozen=True)
class Bound:
    """A node and its spec: `spec` computes what the node does, by the spec's own names and axes.

    `outputs` has the tensor of each output by its name in the graph, `layout` an einops pattern for
    each tensor that the node lays out otherwise, as `check` takes it; `internal` is the type that
    `softmax_precision` computes weights in, empty unless told.
    """

    node: Node
    spec: Spec
    wires: tuple[Wire, ...]
    outputs: Mapping[str, str]
    layout: Mapping[str, str] = field(default_factory=dict)
    internal: str = ""

    def arrays(self, given: Arrays) -> dict[str, Array]:
        """The spec's inputs, from the node's arrays by their names in the graph.

        Raises ParameterError where one is missing or unknown, ShapeError where one does not fit.
        """
        names = {wire.name for wire in self.wires}
        if set(given) != names:
            raise ParameterError(
                "arrays are given by the names that the node's inputs have in its graph",
                node=self.node.op,
                found=", ".join(given),
                due=", ".join(sorted(names)),
            )
        found: dict[str, Array] = {}
        for wire in self.wires:
            found |= wire.inward(given)
        return found

    def feeds(self, laid: Arrays) -> dict[str, Array]:
        """The node's arrays by their names in the graph, from tensors in the node's layout.

        Raises ParameterError where one value of the graph is two inputs of the node.
        """
        found: dict[str, Array] = {}
        for wire in self.wires:
            if wire.name in found:
                raise ParameterError(
                    "one value of the graph is two inputs of its node",
                    node=self.node.op,
                    found=wire.name,
                    hint="give each input of the node a value of its own",
                )
            found[wire.name] = wire.outward(laid)
        return found
