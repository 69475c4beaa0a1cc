"""Wrong attentions written by hand, one per known bug, each with its twin that is right.

They are plain NumPy and share no code with the package, whose checker they try.
"""

from tests.mutants import (
    caches,
    contracts,
    dropout,
    edges,
    gradients,
    heads,
    layouts,
    masks,
    normalisation,
    numerics,
    positions,
    tiling,
)

FAMILIES = (
    masks,
    normalisation,
    positions,
    heads,
    numerics,
    gradients,
    tiling,
    edges,
    dropout,
    caches,
    layouts,
    contracts,
)
