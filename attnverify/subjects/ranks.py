"""A subject that runs over several ranks: each gets its shards, and what comes back is one answer.

Every rank is a process of its own. A sharded array is cut along one axis into as many equal pieces
as there are ranks, in their order; any other array goes to all of them whole. Gathered, sharded
arrays are put end to end again, gradients of whole arrays are summed, and anything else that is
whole must be the same on every rank.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from attnverify.compare import same_bits
from attnverify.errors import ParameterError
from attnverify.spec import Spec
from attnverify.subjects.faults import SubjectFault, SubjectGone
from attnverify.subjects.layout import Layout, letter
from attnverify.subjects.process import Limits, Process, digest
from attnverify.verdict import Status

Array = NDArray[Any]
T = TypeVar("T")
# Seconds in which the others tell what became of them, once one rank has not answered.
GRACE = 2.0
# Sizes of a sharded axis, in positions to a rank, where nobody declares others.
EACH = (1, 2, 3, 5, 8, 16)


@dataclass(frozen=True)
class Sharding:
    """How many ranks there are, and which letter of the layout is cut into shards.

    Raises ParameterError for fewer than two ranks.
    """

    ranks: int
    letter: str = "n"

    def __post_init__(self) -> None:
        if self.ranks < 2:
            raise ParameterError("shards need two ranks", found=self.ranks, due="2 or more")

    def words(self) -> list[str]:
        """What asks for it on a command line.

        >>> Sharding(2).words()
        ['--ranks', '2', '--shard', 'n']
        """
        return ["--ranks", str(self.ranks), "--shard", self.letter]

    def axes(self, spec: Spec) -> tuple[str, ...]:
        """The axes of the spec that are cut; ParameterError where none is.

        >>> from attnverify import load
        >>> Sharding(2).axes(load("global"))
        ('queries', 'keys')
        """
        places = (place for entry in spec.inputs for place in entry.places)
        cut = (p[0] if isinstance(p, tuple) else p for p in places if letter(p) == self.letter)
        found = tuple(dict.fromkeys(index.axis.name for index in cut))
        if not found:
            due = {letter(place) for entry in spec.inputs for place in entry.places}
            raise ParameterError(
                "no input has the axis to be sharded",
                spec=spec.name, found=self.letter, due=", ".join(sorted(due)),
            )  # fmt: skip
        return found

    def sizes(self, spec: Spec, declared: Mapping[str, Any]) -> dict[str, Any]:
        """The sizes to draw: those that are declared, and multiples of the ranks where none are.

        >>> from attnverify import load
        >>> Sharding(2).sizes(load("global"), {"keys": 4})
        {'keys': 4, 'queries': [2, 4, 6, 10, 16, 32]}
        """
        free = (axis for axis in self.axes(spec) if axis not in declared)
        return {**declared, **{axis: [self.ranks * n for n in EACH] for axis in free}}

    def places(self, layout: Layout) -> dict[str, int]:
        """The axis along which each sharded array of the subject is cut.

        Raises ParameterError where it is merged behind another one.
        """
        found: dict[str, int] = {}
        for name in layout.heads:
            for at, group in enumerate(layout.groups(name)):
                if self.letter in group[1:]:
                    raise ParameterError(
                        "an axis that is merged behind another one cannot be sharded",
                        found=f"{layout.pattern(name)!r} of {name}",
                        due=f"{self.letter} alone or first",
                    )
                # A bias by query and key is a rank's by its queries.
                if self.letter in group:
                    found.setdefault(name, at)
        return found


@dataclass
class Ranks:
    """The processes of all ranks, asked together; started again together after one has failed."""

    one: Process
    count: int
    places: Mapping[str, int]
    ended: dict[str, SubjectGone] = field(default_factory=dict)
    _all: list[Process] = field(default_factory=list)
    _held: ExitStack = field(default_factory=ExitStack)
    _folder: Path = field(default_factory=Path)
    _started: int = 0

    @property
    def task(self) -> Mapping[str, Any]:
        """What every rank is told."""
        return self.one.task

    @property
    def limits(self) -> Limits:
        """What one call may take on a rank."""
        return self.one.limits

    def __enter__(self) -> Self:
        self._folder = Path(self._held.enter_context(tempfile.TemporaryDirectory()))
        try:
            self._start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
        self._held.close()

    def close(self) -> None:
        """End the processes of all ranks."""
        for process in self._all:
            process.close()
        self._all = []

    def ask(
        self, request: Mapping[str, Any], arrays: Mapping[str, Array]
    ) -> tuple[dict[str, Any], dict[str, Array]]:
        """One request to all ranks, and their replies as one; SubjectFault with the rank's number.

        Raises ParameterError where an array cannot be cut into equal shards.
        """
        known = self.ended.get(digest(request, arrays)) if self.ended else None
        if known is not None:
            raise known
        shards = [self._shard(arrays, rank) for rank in range(self.count)]
        if not self._all:
            self._start()
        asked = [_later(process.ask, request, shards[at]) for at, process in enumerate(self._all)]
        try:
            found = self._together(asked)
        except SubjectGone as gone:
            self.ended[digest(request, arrays)] = gone
            raise
        headers = [header for header, _ in found]
        return _one_header(headers), self._gathered([parts for _, parts in found])

    def _start(self) -> None:
        """A process for each rank, which meet at a file of their own."""
        self._started += 1
        file = str(self._folder / f"ranks-{self._started}")
        self._all = [
            Process(
                {**self.task, "group": {"rank": rank, "of": self.count, "file": file}},
                self.one.kwargs,
                self.limits,
            )
            for rank in range(self.count)
        ]
        self._together([_later(process.__enter__) for process in self._all])

    def _together(self, asked: Sequence[Callable[[], T]]) -> list[T]:
        """What every rank answers; the fault that tells most where one does not.

        Those that still wait for a rank that failed are ended: they would wait for ever.
        """
        with ThreadPoolExecutor(self.count) as pool:
            futures = [pool.submit(one) for one in asked]
            try:
                wait(futures, return_when=FIRST_EXCEPTION)
                wait(futures, timeout=GRACE)
                late = [not future.done() for future in futures]
            finally:
                # Also where somebody presses Ctrl-C.
                for process, future in zip(self._all, futures, strict=True):
                    if not future.done():
                        process.stop()
        errors = [future.exception() for future in futures]
        if not any(errors):
            return [future.result() for future in futures]
        clean = all(isinstance(e, SubjectFault) and not isinstance(e, SubjectGone) for e in errors)
        if not clean:
            # Some rank may be in the middle of an exchange with another.
            self.close()
        raise self._worst(errors, late)

    def _worst(self, errors: Sequence[BaseException | None], late: Sequence[bool]) -> BaseException:
        """The error to tell: how a process ended before what others made of that, silence last."""
        told = [(rank, e) for rank, e in enumerate(errors) if e is not None and not late[rank]]
        rank, worst = min(told, key=lambda pair: _rank_of(pair[1]))
        if not isinstance(worst, SubjectFault):
            return worst
        silent = [n for n, e in told if isinstance(e, SubjectGone) and e.hung]
        hung = isinstance(worst, SubjectGone) and worst.hung
        who = f"rank {rank} of {self.count}"
        if hung and len(silent) > 1:
            who = f"ranks {', '.join(map(str, silent))} of {self.count}"
        said = f"{who}: {worst.message}"
        if isinstance(worst, SubjectGone) or any(late):
            # Where others had to be ended, to ask again costs as much again.
            return SubjectGone(said, hung=hung or any(late))
        return SubjectFault(said, misuse=worst.misuse)

    def _shard(self, arrays: Mapping[str, Array], rank: int) -> dict[str, Array]:
        """What one rank gets of arrays named as in a message."""
        return {name: self._cut(name, array, rank) for name, array in arrays.items()}

    def _cut(self, name: str, array: Array, rank: int) -> Array:
        place = self.places.get(name.partition(" ")[2])
        if place is None:
            return array
        size = array.shape[place]
        if size % self.count:
            raise ParameterError(
                "an axis does not divide into equal shards",
                found=f"{size} positions of {name.partition(' ')[2]} over {self.count} ranks",
                due="sizes that are multiples of the ranks",
            )
        each = size // self.count
        piece = array.take(range(rank * each, (rank + 1) * each), axis=place)
        return np.ascontiguousarray(piece)

    def _gathered(self, replies: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
        """The arrays of all ranks as one reply."""
        names = list(dict.fromkeys(name for reply in replies for name in reply))
        return {name: self._joined(name, [r.get(name) for r in replies]) for name in names}

    def _joined(self, name: str, parts: Sequence[Array | None]) -> Array:
        kind, _, array = name.partition(" ")
        whole = [part for part in parts if part is not None]
        if len(whole) < len(parts):
            lacking = next(rank for rank, part in enumerate(parts) if part is None)
            raise SubjectFault(f"rank {lacking} of {self.count} gave no {kind} for {array}")
        place = self.places.get(array)
        if place is None:
            return _summed(whole) if kind == "gradient" else self._same(name, whole)
        shapes = {(*p.shape[:place], *p.shape[place + 1 :], p.dtype.name) for p in whole}
        if len(shapes) > 1 or any(p.ndim <= place for p in whole):
            told = ", ".join(f"{p.dtype.name} {p.shape}" for p in whole)
            raise SubjectFault(f"the ranks gave shards of {array} that do not fit: {told}")
        return np.concatenate(whole, axis=place)

    def _same(self, name: str, parts: Sequence[Array]) -> Array:
        """An array that is whole on every rank, where all of them have it alike."""
        for rank, part in enumerate(parts[1:], start=1):
            alike = part.shape == parts[0].shape and part.dtype == parts[0].dtype
            if not alike or same_bits(name, part, parts[0]).status is not Status.HELD:
                what = name.partition(" ")[2]
                raise SubjectFault(f"rank 0 and rank {rank} of {self.count} have another {what}")
        return parts[0]


def _later(fn: Callable[..., T], *args: Any) -> Callable[[], T]:
    return lambda: fn(*args)


def _rank_of(error: BaseException) -> int:
    """Which errors tell most: not of the subject, ended, raised, silent."""
    if not isinstance(error, SubjectFault):
        return 0
    if isinstance(error, SubjectGone):
        return 3 if error.hung else 1
    return 2


def _summed(parts: Sequence[Array]) -> Array:
    """The gradient by an array that every rank holds: the sum of theirs, in their type."""
    total = parts[0]
    for part in parts[1:]:
        if part.shape != total.shape or part.dtype != total.dtype:
            raise SubjectFault("the ranks gave gradients of other shapes or types")
        total = np.asarray(total + part)
    return total


def _one_header(headers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One header for those of all ranks."""
    found = dict(headers[0])
    found["reason"] = next((h["reason"] for h in headers if h.get("reason")), "")
    found["views"] = [view for header in headers for view in header.get("views", ())]
    told = {tuple(header.get("gradients", ())) for header in headers}
    if len(told) > 1:
        raise SubjectFault("the ranks answered for different gradients")
    return found
