"""What an operator and a mutant are, and the public bugs that they stand for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import NamedTuple, TypeAlias

from attnverify.spec import Spec
from attnverify.transforms.prune import prune


@dataclass(frozen=True)
class Citation:
    """A bug that somebody had in public, and what to do about it.

    `source` is where it was reported or fixed; `happens` says what is computed instead, `when` and
    how it is `seen`, `fix` what to do, `check` the call that refutes it, on draws with what it
    `needs`.
    """

    bug: str
    title: str
    source: str
    year: int
    happens: str
    when: str
    seen: str
    fix: str
    needs: str
    check: str

    def __str__(self) -> str:
        return f"{self.source} ({self.year})"

    def advice(self) -> tuple[tuple[str, str], ...]:
        """What happens, how it shows, who was hit, the fix and the test, each with its label.

        >>> dict(citations()["HED-01"].advice())["what catches it"]
        'av.check(fn, "grouped_query"), on draws with 1 < key heads < heads'
        """
        return (
            ("what happens", self.happens),
            ("when", self.when),
            ("how it shows", self.seen),
            ("who was hit", str(self)),
            ("what to do", self.fix),
            ("what catches it", f"{self.check}, on draws with {self.needs}"),
        )


class Change(NamedTuple):
    """A changed spec, the equation that was changed, and what the changed code computes."""

    spec: Spec
    place: str
    sentence: str


Apply: TypeAlias = Callable[[Spec], Iterator[Change]]


@dataclass(frozen=True)
class Operator:
    """One way to be wrong, as a rewrite of a spec.

    `words` say what the mutated code computes; `bugs` are those of `citations()` that it stands
    for.
    """

    name: str
    words: str
    apply: Apply
    bugs: tuple[str, ...] = ()

    @property
    def citations(self) -> tuple[Citation, ...]:
        """The public bugs that it stands for."""
        return tuple(citations()[bug] for bug in self.bugs)

    def mutants(self, spec: Spec) -> Iterator[Mutant]:
        """Every spec that this operator makes of one; none where it lacks the stage.

        Specs whose outputs are computed as they were are left out.
        """
        for change in self.apply(spec):
            if computed(change.spec) != computed(spec):
                yield Mutant(change.spec, self, change.place, change.sentence)


@dataclass(frozen=True)
class Mutant:
    """A spec with one bug in it: it compiles, derives and verifies like any other.

    `sentence` says in words what it computes, `place` which equation was changed.
    """

    spec: Spec
    operator: Operator
    place: str
    sentence: str


def computed(spec: Spec) -> tuple[object, ...]:
    """What outputs are computed by: inputs, and the equations that they need."""
    return spec.inputs, prune(list(spec.equations), spec.outputs)


@cache
def citations() -> dict[str, Citation]:
    """Every public bug, by its identifier.

    >>> str(citations()["MSK-01"])
    'ml-explore/mlx#2835 (2025)'
    """
    text = (
        resources.files("attnverify.transforms.mutate")
        .joinpath("citations.json")
        .read_text("utf-8")
    )
    return {row["bug"]: Citation(**row) for row in json.loads(text)}


def named(name: str, words: str, bugs: Sequence[str] = ()) -> Callable[[Apply], Operator]:
    """Make the decorated rewrite an operator."""

    def made(apply: Apply) -> Operator:
        return Operator(name, words, apply, tuple(bugs))

    return made
