"""Corners: sizes, values and masks that draws of a schedule seldom meet, each met once.

Lengths just past a tile of 128 and past 256, with few channels, and both ways unequal; more
channels than 64 and than 128; many heads; scores as far below zero as the type tells apart; equal
keys; signed zeros and denormals; masks that hide what comes first or last; and the same sizes
twice in turn, which shows what a subject keeps from call to call.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from attnverify.inputs.sizes import CHANNELS, FEW
from attnverify.spec import Spec


@dataclass(frozen=True)
class Corner:
    """Sizes of one case, given to the axes of each kind in turn, its style and form of masks."""

    few: tuple[int, ...]
    channels: tuple[int, ...]
    lengths: tuple[int, ...]
    style: str = "normal"
    masks: str = "scattered"

    def sizes(self, spec: Spec) -> dict[str, int]:
        """The size of every axis of a spec.

        >>> from attnverify import load
        >>> CORNERS[1].sizes(load("global"))["keys"]
        130
        """
        return _in_turn(FEW, self.few, spec, inside=True) | (
            _in_turn(CHANNELS, self.channels, spec, inside=True)
            | _in_turn((*FEW, *CHANNELS), self.lengths, spec, inside=False)
        )


CORNERS = (
    Corner((1,), (4, 3), (129,), masks="left"),
    Corner((1,), (3, 2), (257, 130)),
    Corner((1,), (2, 3), (130, 257), masks="right"),
    Corner((1, 2), (66, 65), (5, 9)),
    Corner((1,), (96, 129), (33, 34), masks="left"),
    Corner((1,), (130, 80), (6,)),
    Corner((2, 6, 5), (4, 6), (7,), masks="one"),
    Corner((1, 2), (8, 4), (17, 33), style="deep"),
    Corner((1, 2), (8, 4), (17,), style="deep", masks="left"),
    Corner((1, 2), (4, 5), (9, 10), style="equal"),
    Corner((1, 2), (4, 5), (10,), style="tiny"),
    Corner((2, 3), (6, 4), (11,)),
    Corner((2, 3), (6, 4), (11,), style="spread"),
    Corner((2, 3), (6, 4), (11,), style="offset"),
)

# A case on which to see where a failure lies: places that can be told apart on every axis.
WIDE = Corner((2, 3), (4, 5), (41, 37))


def _in_turn(
    names: Iterable[str], sizes: tuple[int, ...], spec: Spec, *, inside: bool
) -> dict[str, int]:
    """Sizes for a spec's axes that are among the names, or for those that are not."""
    found = [axis.name for axis in spec.axes if (axis.name in names) is inside]
    return {name: sizes[number % len(sizes)] for number, name in enumerate(found)}
