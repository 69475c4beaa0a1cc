"""The smallest case at which something fails: sizes first, then parameters, then plain entries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from attnverify.provers.draws import STYLES, Case, Group, plain_values, whole_sizes
from attnverify.spec import Spec

Found = TypeVar("Found")
Fails = Callable[[Group], "tuple[Case, Found] | None"]

SEEDS = (0, 1, 2)
PASSES = 2


def shrunk(
    spec: Spec, case: Case, found: Found, fails: Fails[Found], styles: tuple[str, ...] = STYLES
) -> tuple[Case, Found]:
    """A smaller case at which `fails` still finds something, with what it finds.

    Each size is brought to the least at which some draw fails, one axis after the other, from one
    upward; `fails` is given plain draws first and the case's own draw last.
    """
    best = case, found
    for _ in range(PASSES):
        start = best[0]
        for axis in spec.axes:
            best = _least(spec, best, _sizes(spec, best[0], axis.name), fails, styles)
        for parameter in spec.parameters:
            best = _least(spec, best, _settings(best[0], parameter.name, spec), fails, styles)
        if best[0] == start:
            break
    return _least(spec, best, iter([best[0]]), fails, styles)


def _least(
    spec: Spec,
    best: tuple[Case, Found],
    smaller: Iterator[Case],
    fails: Fails[Found],
    styles: tuple[str, ...],
) -> tuple[Case, Found]:
    """The first of some smaller cases at which a draw fails, or the best case as it was."""
    plain = [(style, seed) for style in styles for seed in SEEDS]
    for case in smaller:
        draws = tuple(dict.fromkeys([*plain, (case.style, case.seed)]))
        parameters = {p: case.parameters[p.name] for p in spec.parameters}
        seen = fails(Group(case.sizes, parameters, draws))
        if seen is not None:
            return seen
    return best


def _sizes(spec: Spec, case: Case, axis: str) -> Iterator[Case]:
    """The case with one axis smaller, from one up; sizes that follow from others follow."""
    for size in range(1, case.sizes[axis]):
        sizes = whole_sizes(spec.axes, {**case.sizes, axis: size})
        if sum(sizes.values()) < sum(case.sizes.values()):
            yield Case(sizes, case.parameters, case.style, case.seed)


def _settings(case: Case, name: str, spec: Spec) -> Iterator[Case]:
    """The case with a plainer value of one parameter."""
    parameter = next(p for p in spec.parameters if p.name == name)
    for value in plain_values(parameter):
        if value == case.parameters[name]:
            return
        yield Case(case.sizes, {**case.parameters, name: value}, case.style, case.seed)
