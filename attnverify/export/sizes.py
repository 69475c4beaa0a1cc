"""The sizes of a spec's axes as lines of text, read off the shapes of its arrays."""

from __future__ import annotations

from dataclasses import dataclass, field

from attnverify.algebra.terms import Axis, Entry, Place
from attnverify.compile.scalars import size_name
from attnverify.spec import Spec


@dataclass
class Sizes:
    """Lines that give every axis its size; `asked` are those that no array tells."""

    spec: Spec
    asked: tuple[str, ...] = ()
    lines: list[str] = field(default_factory=list)
    known: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.known |= set(self.asked)
        for axis in self.spec.axes:
            if axis.fixed is not None:
                self._put(axis.name, str(axis.fixed))
        self._plain(following=False)
        self._settle()
        self._plain(following=True)
        self._settle()
        while missing := self._missing():
            self.asked += (missing,)
            self.known.add(missing)
            self._settle()
        for entry in self.spec.inputs:
            self._check(entry)

    def _put(self, axis: str, text: str) -> None:
        self.known.add(axis)
        self.lines.append(f"{size_name(axis)} = {text}")

    def _plain(self, *, following: bool) -> None:
        """Axes that an array has by themselves."""
        for entry in self.spec.inputs:
            name = entry.tensor.name
            found: dict[str, str] = {}
            for spot, place in enumerate(entry.places):
                if isinstance(place, tuple) or place.axis.name in {*self.known, *found}:
                    continue
                if following or not self._follows(place.axis):
                    found[place.axis.name] = f"{name}.shape[{spot}]"
            if found and len(found) == len(entry.places) > 1:
                self.lines.append(f"{', '.join(map(size_name, found))} = {name}.shape")
            elif found:
                left = ", ".join(map(size_name, found))
                self.lines.append(f"{left} = {', '.join(found.values())}")
            self.known |= set(found)

    def _follows(self, axis: Axis) -> bool:
        return any(known.name == axis.name and known.follows for known in self.spec.axes)

    def _settle(self) -> None:
        """Sizes that follow from those known: sums, the rest of a sum, factors of a product."""
        settled = -1
        while settled != len(self.known):
            settled = len(self.known)
            for axis in self.spec.axes:
                if axis.addends:
                    self._sum(axis)
            for entry in self.spec.inputs:
                for spot, place in enumerate(entry.places):
                    self._factor(entry, spot, place)

    def _sum(self, axis: Axis) -> None:
        parts = [part.name for part in axis.addends]
        unknown = [part for part in parts if part not in self.known]
        known = [size_name(part) for part in parts if part in self.known]
        if not unknown and axis.name not in self.known:
            self._put(axis.name, " + ".join(known))
        elif len(unknown) == 1 and axis.name in self.known:
            self._put(unknown[0], " - ".join([size_name(axis.name), *known]))

    def _factor(self, entry: Entry, spot: int, place: Place) -> None:
        names = _axes(place)
        unknown = [name for name in names if name not in self.known]
        if len(unknown) != 1:
            return
        shape = f"{entry.tensor.name}.shape[{spot}]"
        known = [size_name(name) for name in names if name in self.known]
        below = (
            f" // ({' * '.join(known)})" if len(known) > 1 else "".join(f" // {n}" for n in known)
        )
        self._put(unknown[0], shape + below)

    def _missing(self) -> str | None:
        """An axis that no array tells: first the factors of product axes."""
        factors = [n for e in self.spec.inputs for place in e.places for n in _axes(place)]
        names = [*factors, *(axis.name for axis in self.spec.axes)]
        return next((name for name in names if name not in self.known), None)

    def _check(self, entry: Entry) -> None:
        """Nothing is broadcast: an array of another shape is an error."""
        sizes = "".join(f", {product(place)}" for place in entry.places)
        self.lines.append(f'expect("{entry.tensor.name}", {entry.tensor.name}{sizes})')


def _axes(place: Place) -> list[str]:
    return [index.axis.name for index in (place if isinstance(place, tuple) else (place,))]


def product(place: Place) -> str:
    """The size of one dimension of an array.

    >>> from attnverify.library import load
    >>> product(load("grouped_query").inputs[0].places[1])
    'n_group * n_repeat'
    """
    return " * ".join(size_name(name) for name in _axes(place))
