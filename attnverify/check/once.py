"""An iterator whose items are kept for whoever asks again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Once(Generic[T]):
    """What an iterator gives, kept for whoever asks again."""

    def __init__(self, source: Iterator[T]) -> None:
        self._source, self._known = source, list[T]()

    def __iter__(self) -> Iterator[T]:
        at = 0
        while True:
            if at == len(self._known):
                try:
                    self._known.append(next(self._source))
                except StopIteration:
                    return
            yield self._known[at]
            at += 1
