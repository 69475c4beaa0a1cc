"""Hops from positions to positions through a layer, and through layers one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from attnverify.errors import ParameterError

Position: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Reach:
    """The fewest hops from each source position (columns) to each target position (rows).

    `hops` is (targets, sources); inf where there is no path. `layers` is how many layers lie
    between.
    """

    sources: tuple[Position, ...]
    targets: tuple[Position, ...]
    hops: npt.NDArray[Any]
    layers: int = 1

    def then(self, following: Reach) -> Reach:
        """This layer, and the following one on its outputs: hops add up along the best way.

        Raises ParameterError where the outputs do not stand at the positions that the next layer
        reads.
        """
        if self.targets != following.sources:
            raise ParameterError(
                "a layer does not read the positions that the layer below gives",
                found=f"{len(following.sources)} positions read",
                due=f"the {len(self.targets)} positions given",
            )
        return Reach(
            self.sources,
            following.targets,
            shortest(following.hops, self.hops),
            self.layers + following.layers,
        )

    @property
    def stackable(self) -> bool:
        """Whether the outputs stand at the positions of the inputs, so that a layer can follow."""
        return self.sources == self.targets

    def times(self, layers: int) -> Reach:
        """The layer applied so many times; ParameterError unless it is a number of at least 1."""
        if isinstance(layers, bool) or not isinstance(layers, int) or layers < 1:
            raise ParameterError("a stack has layers", found=repr(layers), due="at least 1")
        found = self
        for _ in range(layers - 1):
            found = found.then(self)
        return found

    def stacked(self) -> Reach:
        """The best of any number of layers, at least one; `layers` is then not told apart."""
        found = self.hops
        while True:
            more = np.minimum(found, shortest(found, found))
            if (more >= found).all():
                return Reach(self.sources, self.targets, found, self.layers)
            found = more

    def layers_needed(self) -> npt.NDArray[Any]:
        """The fewest layers from each source to each target; inf where no number of them does."""
        first = np.isfinite(self.hops)
        needed = np.where(first, 1.0, np.inf)
        reached, layers = first, 1
        while True:
            reached, layers = (first.astype(int) @ reached.astype(int)) > 0, layers + 1
            fresh = reached & np.isinf(needed)
            # A pair that takes longest passes through pairs that take one layer less each.
            if not fresh.any():
                return needed
            needed = np.where(fresh, float(layers), needed)

    def longest(self) -> int:
        """The largest number of hops over the pairs that are connected; 0 where none is."""
        found = self.hops[np.isfinite(self.hops)]
        return int(found.max()) if found.size else 0


def shortest(second: npt.NDArray[Any], first: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The least sum over positions between: a matrix product with min for + and + for x."""
    return np.stack([(row[:, None] + first).min(axis=0, initial=np.inf) for row in second])
