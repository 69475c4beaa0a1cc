"""Sizes to try: a schedule from one upward, and what a subject declares that it supports."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import Any, TypeAlias

import numpy as np

from attnverify.algebra.parameters import highest, lowest, whole_values
from attnverify.algebra.terms import Parameter
from attnverify.errors import ParameterError
from attnverify.spec import Spec

# An axis of the subject may be fixed, chosen from a list, or tied to others: "key_dim",
# "heads*key_dim".
Support: TypeAlias = "Mapping[str, int | Sequence[int] | str]"

FEW = ("batch", "heads", "group", "repeat")
CHANNELS = ("key_dim", "value_dim", "model", "hidden", "align", "pair", "side")

# Rounds of the schedule: sizes of the axes there are few of, of channels, and of sequences.
ROUNDS: tuple[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]], ...] = (
    ((1,), (1,), (1,)),
    ((1,), (1, 2), (1, 2, 3)),
    ((1, 2), (1, 2, 3), (2, 3, 4)),
    ((1, 2, 3), (2, 3, 5), (1, 5, 7)),
    ((1, 2, 3), (4, 5, 8), (6, 8, 9, 11)),
    ((1, 2), (7, 8, 16), (13, 15, 16, 17)),
    ((1, 2), (8, 16, 32), (1, 31, 32, 33)),
    ((1, 2), (16, 33, 64), (61, 63, 64, 65)),
    ((1,), (32, 64), (1, 97, 127, 128, 129)),
)


def choices(axis: str, level: int) -> tuple[int, ...]:
    """The sizes that an axis takes in one round of the schedule."""
    few, channels, lengths = ROUNDS[min(level, len(ROUNDS) - 1)]
    return few if axis in FEW else channels if axis in CHANNELS else lengths


def scheduled(
    spec: Spec, level: int, rng: np.random.Generator, support: Support | None = None
) -> dict[str, int]:
    """The sizes of every axis for one case of a round."""
    free = {axis.name: int(rng.choice(choices(axis.name, level))) for axis in spec.axes}
    return supported(spec, free, support or {}, rng)


def supported(
    spec: Spec, sizes: Mapping[str, int], support: Support, rng: np.random.Generator | None = None
) -> dict[str, int]:
    """The nearest sizes that the subject takes; ParameterError for an axis the spec lacks."""
    names = [axis.name for axis in spec.axes]
    for axis in support:
        if axis not in names:
            raise ParameterError(
                "a size is declared for an axis that the spec lacks",
                spec=spec.name,
                found=axis,
                due=", ".join(names),
            )
    found = dict(sizes)
    for axis, rule in support.items():
        if isinstance(rule, int):
            found[axis] = rule
        elif not isinstance(rule, str):
            allowed = [int(size) for size in rule]
            found[axis] = min(allowed, key=lambda size: (abs(size - found[axis]), size))
    for axis, rule in support.items():
        if isinstance(rule, str):
            found[axis] = _tied(spec, axis, rule, found)
    fitting = spec.fitted(found)
    for axis in support:
        if fitting[axis] != found[axis]:
            declared = next(a.declaration for a in spec.axes if a.name == axis)
            raise ParameterError(
                "a size is declared that the spec has otherwise",
                spec=spec.name,
                found=f"{axis} = {found[axis]}",
                due=f"{axis} = {declared}",
                hint="declare the sizes of its parts" if not declared.isdigit() else "",
            )
    return fitting


def _tied(spec: Spec, axis: str, rule: str, sizes: Mapping[str, int]) -> int:
    parts = [part.strip() for part in rule.split("*")]
    for part in parts:
        if part not in sizes and not part.isdigit():
            raise ParameterError(
                f"the size of {axis} is tied to an unknown axis",
                spec=spec.name,
                found=part,
                due=", ".join(sizes),
            )
    return prod(int(part) if part.isdigit() else sizes[part] for part in parts)


def smaller(sizes: Mapping[str, int], limit: int) -> Iterator[dict[str, int]]:
    """Sizes up to those given, smallest first, at most `limit` steps above one in all."""
    names = list(sizes)
    for excess in range(limit + 1):
        for extra in _spread(excess, [sizes[name] - 1 for name in names]):
            yield {name: 1 + more for name, more in zip(names, extra, strict=True)}


def _spread(total: int, room: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Every way to share a total among places with limited room."""
    if not room:
        if total == 0:
            yield ()
        return
    for here in range(min(total, room[0]) + 1):
        for rest in _spread(total - here, room[1:]):
            yield (here, *rest)


def parameter_value(
    parameter: Parameter, sizes: Mapping[str, int], rng: np.random.Generator
) -> Any:
    """A value in a parameter's domain: an integer around the lengths, a real around its default."""
    lengths = [size for axis, size in sizes.items() if axis not in (*FEW, *CHANNELS)] or [1]
    n = int(rng.choice(lengths))
    if parameter.integer:
        step = parameter.multiple_of or 1
        near = [0, 1, 2, n - 1, n, n + 1, int(rng.integers(0, n + 1))]
        near = [value - value % step for value in near]
        inside = [value for value in near if _inside(parameter, value)]
        return int(rng.choice(inside)) if inside else _edge(parameter)
    centre = float(parameter.default) if parameter.default is not None else 1.0
    near_reals = [centre, centre / 2, centre * 2, float(rng.uniform(0, 2)), -centre]
    fitting = [value for value in near_reals if _inside(parameter, value)]
    return float(fitting[int(rng.integers(len(fitting)))]) if fitting else _edge(parameter)


def _inside(parameter: Parameter, value: float) -> bool:
    above = (parameter.ge is None or value >= parameter.ge) and (
        parameter.gt is None or value > parameter.gt
    )
    below = (parameter.le is None or value <= parameter.le) and (
        parameter.lt is None or value < parameter.lt
    )
    return above and below


def _edge(parameter: Parameter) -> Any:
    """A value just inside one bound of the domain."""
    low, high = lowest(parameter), highest(parameter)
    if low is not None and high is not None:
        if parameter.integer:
            return _middle(parameter, math.floor(low), math.ceil(high))
        return float((low + high) / 2)
    if parameter.integer:
        wide = 2 * (parameter.multiple_of or 1)
        start = math.floor(low) if low is not None else math.ceil(high or 0) - wide
        return _middle(parameter, start, start + wide)
    return float(low + 0.5 if low is not None else (high or 0) - 0.5)


def _middle(parameter: Parameter, start: int, stop: int) -> int:
    values = whole_values(parameter, start, stop)
    return values[len(values) // 2]
