"""The process that a subject runs in: load it, answer calls on it, end with the judge.

It imports neither SymPy nor anything that judges: what it needs of the spec comes as names.
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import os
import pickle
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import IO, Any, cast

from numpy.typing import NDArray

from attnverify.errors import AttnverifyError, SubjectError
from attnverify.subjects import resolved, wrapper
from attnverify.subjects.answerer import Answer, Pair
from attnverify.subjects.base import Plan, Subject
from attnverify.subjects.faults import SubjectFault
from attnverify.subjects.group import join
from attnverify.subjects.protocol import joined, parted, receive, send

Array = NDArray[Any]
Arrays = dict[str, Array]
Reply = tuple[dict[str, Any], Arrays]


@dataclass(frozen=True)
class AsGiven:
    """The layout of arrays that are laid out before they come.

    `shapes` are the inputs' with one position along each axis of the spec.
    """

    shapes: Mapping[str, Sequence[int]]

    def at(self, _arrays: Mapping[str, Array]) -> AsGiven:
        """The same for every case."""
        return self

    def shape(self, name: str, _sizes: Mapping[str, int]) -> tuple[int, ...]:
        """The shape of an input at the only sizes that are known here."""
        return tuple(self.shapes[name])

    def outward(self, _name: str, array: Array) -> Array:
        """The array itself."""
        return array


@dataclass
class Worker:
    """One subject, wrapped once for each type that it is asked in."""

    told: Mapping[str, Any]
    kwargs: Mapping[str, Any]

    def __post_init__(self) -> None:
        if self.told.get("group"):
            join(self.told["group"])
        self.fn = resolved(self.told["subject"], self.told["framework"])
        self.vjp = resolved(self.told["vjp"], "numpy") if self.told["vjp"] else None
        self._kind = wrapper(self.told["framework"])
        self._subjects: dict[str, Subject] = {}

    def subject(self, dtype: str) -> Subject:
        """The subject in one type."""
        if dtype not in self._subjects:
            self._subjects[dtype] = self._kind(self.fn, self._plan(dtype), self.vjp)
        return self._subjects[dtype]

    def _plan(self, dtype: str) -> Plan:
        """The plan of the call; a spec is no more here than the names that a call needs."""
        inputs = [
            SimpleNamespace(tensor=SimpleNamespace(name=name, kind=kind))
            for name, kind in self.told["inputs"]
        ]
        parameters = [
            SimpleNamespace(name=name, integer=integer) for name, integer in self.told["parameters"]
        ]
        names = SimpleNamespace(
            name=self.told["spec"],
            axes=(),
            inputs=inputs,
            parameters=parameters,
            outputs=tuple(self.told["outputs"]),
        )
        named = self.told["named"]
        return Plan(
            cast("Any", names),
            cast("Any", AsGiven(self.told["shapes"])),
            dtype,
            self.kwargs,
            self.told["mapped"],
            named if isinstance(named, Mapping) else tuple(named),
            self.told["device"],
            self.told["library"],
            self.told["types"],
        )

    def reply(self, asked: Mapping[str, Any], arrays: Arrays) -> Reply:
        """The answer to one request, or what the subject did instead of answering."""
        parts = parted(arrays)
        subject, parameters = self.subject(asked["dtype"]), asked["parameters"]
        inputs = parts["input"]
        if asked["do"] == "reason":
            return {"reason": subject.backward_reason(inputs, parameters)}, {}
        if asked["do"] == "twice":
            return _pair(subject.paired(parts["earlier"], inputs, parameters))
        if asked["do"] == "backward":
            return _answer(subject.pulled(inputs, parts["seed"], parameters, view=asked["view"]))
        return _answer(subject.answered(inputs, parameters, view=asked["view"]))


def _answer(answer: Answer) -> Reply:
    """An answer as a message; gradients that are None are named in the header alone."""
    found = joined(output=answer.outputs, gradient=answer.gradients, after=answer.after)
    return {"gradients": list(answer.gradients)}, found


def _pair(pair: Pair) -> Reply:
    _, second = _answer(pair.second)
    told = joined(first=pair.first, later=pair.later, kept=pair.kept)
    return {"views": pair.views}, {**second, **told}


def serve(requests: IO[bytes], replies: IO[bytes]) -> None:
    """Load what the first message names, then answer until the judge ends."""
    told, buffers = receive(requests, sys.maxsize)
    sys.path[:] = told["path"]
    if told["trace"]:
        faulthandler.enable()
    try:
        worker = Worker(told, pickle.loads(buffers["kwargs"].tobytes()))  # noqa: S301  from the judge
        limit(told["memory"])
    except (Exception, SystemExit) as error:  # noqa: BLE001  whatever an import raises is told
        send(replies, _told(error), {})
        return
    send(replies, {}, {})
    with contextlib.suppress(EOFError):
        while True:
            asked, arrays = receive(requests, sys.maxsize)
            send(replies, *_guarded(worker, asked, arrays))


def _told(error: BaseException) -> dict[str, Any]:
    """An error as a message."""
    if isinstance(error, AttnverifyError):
        kind = type(error).__name__
        return {"error": kind, "message": error.message, "parts": error.parts}
    parts = {"found": f"{type(error).__name__}: {error}"}
    return {"error": SubjectError.__name__, "message": "the subject does not load", "parts": parts}


def _guarded(worker: Worker, asked: Mapping[str, Any], arrays: Arrays) -> Reply:
    """A reply whatever happens; `spent`: memory ran out, and the process is best replaced."""
    try:
        return worker.reply(asked, arrays)
    except MemoryError:
        return {"fault": "the subject ran out of memory", "misuse": False, "spent": True}, {}
    except SubjectFault as fault:
        spent = isinstance(fault.__cause__, MemoryError)
        return {"fault": fault.message, "misuse": fault.misuse, "spent": spent}, {}
    except AttnverifyError as error:
        # What a framework lacks (a type, a device) is no answer of the subject's.
        return _told(error), {}
    except BaseException as error:  # noqa: BLE001  a subject may raise what it likes
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{os.path.basename(last.filename)}, line {last.lineno}"  # noqa: PTH119
        said = f"the subject raised {type(error).__name__}: {error} ({where})"
        return {"fault": said, "misuse": False, "spent": False}, {}


def limit(mebibytes: int) -> None:
    """Allow that much memory beyond what is held now, where the system can tell."""
    try:
        import resource  # noqa: PLC0415  not on every system
    except ImportError:
        return
    # Reserved addresses cost nothing and accelerators' drivers reserve terabytes of them: Linux
    # can count private writable pages alone.
    which, held = resource.RLIMIT_AS, 0
    if sys.platform == "linux":
        which, held = resource.RLIMIT_DATA, _held()
    hard = resource.getrlimit(which)[1]
    wanted = held + mebibytes * 2**20
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(which, (wanted, hard))


def _held() -> int:
    """Bytes of private writable memory that this process holds."""
    with open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123  a device
        return next((int(x.split()[1]) * 1024 for x in status if x.startswith("VmData")), 0)


def main() -> None:
    """Keep the judge's two pipes, and give the subject standard streams that lead elsewhere."""
    requests = io.BufferedReader(io.FileIO(os.dup(0), "r"))
    replies = io.BufferedWriter(io.FileIO(os.dup(1), "w"))
    # What a subject prints is for people: it goes where errors go and is never read.
    os.dup2(2, 1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    serve(requests, replies)
    # A subject's threads must not keep the process.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
