"""What a mutant is: the bug, the spec it is judged against, a factory of it and of its twin."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from attnverify.spec import Spec
from tests.mutants.bugs import BUGS, Bug

Function = Callable[..., Any]


class Pair(NamedTuple):
    """A forward function and its own backward, which takes the cotangents first."""

    forward: Function
    backward: Function


Build = Callable[[bool], "Function | Pair"]


@dataclass(frozen=True)
class Mutant:
    """One bug as code: `build(True)` has it, `build(False)` is the same code without it.

    `spec` is a name of the catalogue, or a composition; `settings` are keywords of `check`;
    `needs` says in words which draws show the bug; `survives` why `check` cannot see it yet.
    """

    bug: str
    spec: str | Callable[[], Spec]
    build: Build
    needs: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    survives: str = ""
    quick: bool = False

    @property
    def about(self) -> Bug:
        """Title and citation."""
        return BUGS[self.bug]

    @property
    def family(self) -> str:
        """The module that it stands in."""
        return self.build.__module__.rpartition(".")[2]

    @property
    def judged_by(self) -> str:
        """The spec in words: its name and the choices of it, or the composition's name."""
        if callable(self.spec):
            return f"{self.spec().name} (composed)"
        told = ", ".join(f"{key}={value}" for key, value in self.settings.items())
        return f"{self.spec}({told})" if told else self.spec


MUTANTS: list[Mutant] = []


def mutant(
    bug: str,
    spec: str | Callable[[], Spec],
    needs: str,
    *,
    survives: str = "",
    quick: bool = False,
    **settings: Any,
) -> Callable[[Build], Build]:
    """Enter the decorated factory as the mutant of a bug."""

    def enter(build: Build) -> Build:
        MUTANTS.append(Mutant(bug, spec, build, needs, settings, survives, quick))
        return build

    return enter
