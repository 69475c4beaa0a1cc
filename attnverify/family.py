"""Families: specs that differ in their equations by named choices."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from attnverify.algebra.terms import Parameter
from attnverify.errors import ParameterError, SpecError
from attnverify.spec import Spec

ANY = "any"


@dataclass(frozen=True)
class Choice:
    """The values that a family's argument may take; the first is the default.

    A Parameter among them stands for any number of its domain: the family's function is called with
    the parameter, and a number that is given specialises it. As text it is "any".
    """

    values: tuple[object, ...]

    def __init__(self, *values: object) -> None:
        if not values:
            raise ParameterError("a Choice offers at least one value", found="Choice()")
        object.__setattr__(self, "values", values)

    def taken(self, value: object) -> object | None:
        """The value on offer that a given one stands for; None where there is none."""
        for option in self.values:
            if type(value) is type(option) and value == option:
                return option
        found = self.open_value
        return found if found is not None and (value == ANY or _number(value)) else None

    @property
    def open_value(self) -> Parameter | None:
        """The Parameter among the values, if there is one."""
        return next((value for value in self.values if isinstance(value, Parameter)), None)


def _number(value: object) -> bool:
    return isinstance(value, int | float | Fraction) and not isinstance(value, bool)


def told(value: object) -> object:
    """A choice's value as it is printed and kept: a Parameter is "any"."""
    return ANY if isinstance(value, Parameter) else value


@dataclass(frozen=True)
class Family:
    """Specs that differ in their equations by named choices."""

    build: Callable[..., Spec]
    choices: dict[str, Choice]

    def picked(self, given: Mapping[str, object]) -> tuple[dict[str, object], dict[str, object]]:
        """The value of every choice, and the numbers given for those that are parameters.

        Raises ParameterError for a value that is not on offer.
        """
        picked = {name: choice.values[0] for name, choice in self.choices.items()}
        numbers: dict[str, object] = {}
        for name, value in given.items():
            if name not in self.choices:
                raise ParameterError("an unknown choice", found=name, due=", ".join(self.choices))
            option = self.choices[name].taken(value)
            if option is None:
                raise ParameterError(
                    f"'{name}' cannot take this value",
                    found=repr(value),
                    due=" or ".join(
                        "a number" if isinstance(v, Parameter) else repr(v)
                        for v in self.choices[name].values
                    ),
                )
            picked[name] = option
            if isinstance(option, Parameter) and value not in (ANY, option):
                numbers[option.name] = value
        return picked, numbers

    def spec(self, **given: object) -> Spec:
        """The member with these choices; ParameterError for a value that is not on offer."""
        picked, numbers = self.picked(given)
        if numbers:
            raise ParameterError(
                "a number for an open choice is given to load(...)", found=", ".join(numbers)
            )
        member = self.build(**picked)
        if not isinstance(member, Spec):
            raise SpecError("a family's function returns a Spec", found=type(member).__name__)
        return member.replace(choices={name: told(value) for name, value in picked.items()})


def family(build: Callable[..., Spec], **choices: Choice) -> Family:
    """A family of specs: `build` is called with one value of each choice."""
    for name, choice in choices.items():
        if not isinstance(choice, Choice):
            raise ParameterError(
                "a family's argument is a Choice",
                found=f"{name}={choice!r}",
                hint=f"write {name}=Choice(...)",
            )
    return Family(build, choices)
