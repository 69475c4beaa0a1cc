"""How a subject lays its arrays out, as an einops pattern over the letters of the spec's axes."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import einops
import numpy as np
from numpy.typing import NDArray

from attnverify.algebra.terms import Entry, Place
from attnverify.errors import ParameterError
from attnverify.spec import Spec

Array = NDArray[Any]

# Letters that the usual axes share; any other axis goes by its index's own name in the spec.
LETTERS = {
    "batch": "b",
    "heads": "h",
    "group": "h",
    "repeat": "h",
    "queries": "n",
    "keys": "n",
    "time": "n",
    "key_dim": "d",
    "value_dim": "d",
}


def letter(place: Place) -> str:
    """The letter of one place: a product axis goes by the letter its factors share."""
    parts = place if isinstance(place, tuple) else (place,)
    found = dict.fromkeys(LETTERS.get(index.axis.name, index.name) for index in parts)
    return "_".join(found)


def letters(entry: Entry) -> tuple[str, ...]:
    """The letters of an array's axes in the spec's order."""
    return tuple(letter(place) for place in entry.places)


def place_size(place: Place, sizes: Mapping[str, int]) -> int:
    """The number of positions along a place."""
    parts = place if isinstance(place, tuple) else (place,)
    return prod(sizes[index.axis.name] for index in parts)


def place_name(place: Place) -> str:
    """The name of a place's axis, factors joined by `*`."""
    parts = place if isinstance(place, tuple) else (place,)
    return "*".join(index.axis.name for index in parts)


class Layout:
    """Between the spec's axis order and the subject's, per array.

    `pattern` is one einops pattern for every array that has exactly its letters (others keep the
    spec's order), or a mapping from array names to patterns.  Raises ParameterError for one that
    fits no array.

    >>> from attnverify import load
    >>> Layout(load("global"), "b n (h d)").pattern("Q")
    'b n (h d)'
    """

    def __init__(self, spec: Spec, pattern: str | Mapping[str, str] | None = None) -> None:
        self.heads = spec.heads
        self._patterns: dict[str, str] = {}
        if isinstance(pattern, Mapping):
            for name, text in pattern.items():
                self._set(spec, name, text)
        elif pattern is not None:
            self._set_all(spec, pattern)

    def _set_all(self, spec: Spec, text: str) -> None:
        words = sorted(_words(text))
        named = [name for name, head in spec.heads.items() if sorted(letters(head)) == words]
        self._patterns = dict.fromkeys(named, _spaced(text))
        if not set(named) & {entry.tensor.name for entry in spec.inputs}:
            options = dict.fromkeys(" ".join(letters(entry)) for entry in spec.inputs)
            raise ParameterError(
                "the layout fits no input",
                spec=spec.name,
                found=repr(text),
                due="the letters of an input: " + ", or ".join(options),
            )

    def _set(self, spec: Spec, name: str, text: str) -> None:
        if name not in spec.heads:
            raise ParameterError(
                "the layout names an unknown array",
                spec=spec.name,
                found=name,
                due=", ".join(spec.heads),
            )
        if sorted(_words(text)) != sorted(letters(spec.heads[name])):
            raise ParameterError(
                f"the layout does not fit {name}",
                spec=spec.name,
                found=repr(text),
                due="the letters " + " ".join(letters(spec.heads[name])),
            )
        self._patterns[name] = _spaced(text)

    def pattern(self, name: str) -> str:
        """The subject's pattern of an array."""
        return self._patterns.get(name, " ".join(letters(self.heads[name])))

    def groups(self, name: str) -> list[list[str]]:
        """The letters that make up each axis of the subject's array."""
        return _groups(self.pattern(name))

    def at(self, _arrays: Mapping[str, Array]) -> Layout:
        """The layout of one case; the same for all where it does not depend on lengths."""
        return self

    def outward(self, name: str, array: Array) -> Array:
        """An array as the subject wants it, contiguous; it may be the same memory.

        Nobody writes to it: a subject is given a copy.
        """
        if name not in self._patterns:
            return np.asarray(array, order="C")
        moved = einops.rearrange(
            array, f"{' '.join(letters(self.heads[name]))} -> {self._patterns[name]}"
        )
        return np.asarray(moved, order="C")

    def shape(self, name: str, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """The shape that the subject's array of this name has."""
        places = self.heads[name].places
        have = dict(
            zip(letters(self.heads[name]), (place_size(p, sizes) for p in places), strict=True)
        )
        if name not in self._patterns:
            return tuple(place_size(p, sizes) for p in places)
        return tuple(prod(have[word] for word in group) for group in _groups(self._patterns[name]))

    def inward(self, name: str, array: Array, sizes: Mapping[str, int]) -> Array:
        """A subject's array, of the right shape, in the spec's order."""
        if name not in self._patterns:
            return array
        head = self.heads[name]
        known = dict(zip(letters(head), (place_size(p, sizes) for p in head.places), strict=True))
        result: Array = einops.rearrange(
            array, f"{self._patterns[name]} -> {' '.join(letters(head))}", **known
        )
        return result


def _groups(text: str) -> list[list[str]]:
    """The pattern's groups of letters: one group per axis of the subject's array."""
    groups: list[list[str]] = []
    inside = False
    for word in text.replace("(", " ( ").replace(")", " ) ").split():
        if word in "()":
            if inside is (word == "("):
                raise ParameterError("the layout's parentheses do not match", found=repr(text))
            inside = word == "("
            if inside:
                groups.append([])
        elif inside:
            groups[-1].append(word)
        else:
            groups.append([word])
    if inside:
        raise ParameterError("the layout's parentheses do not match", found=repr(text))
    return groups


def _words(text: str) -> list[str]:
    return [word for group in _groups(text) for word in group]


def _spaced(text: str) -> str:
    return " ".join(
        group[0] if len(group) == 1 else f"({' '.join(group)})" for group in _groups(text)
    )
