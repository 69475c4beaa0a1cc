"""A subject's own process, from the judge's side: start it, ask it, end it."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from attnverify import errors
from attnverify.cache import INSIDE, Watch
from attnverify.errors import ParameterError, SubjectError
from attnverify.subjects.faults import SubjectFault, SubjectGone
from attnverify.subjects.protocol import BrokenMessageError, receive, send

Array = NDArray[Any]

# Importing a framework from a cold disk takes long, and says nothing about the subject.
LOADING = 300.0


@dataclass(frozen=True)
class Limits:
    """What one call may take: seconds by the clock, and MiB beyond what is held once loaded."""

    time: float = 60.0
    memory: int = 4096

    def __post_init__(self) -> None:
        if not self.time > 0 or not self.memory > 0:
            raise ParameterError(
                "a limit that leaves nothing",
                found=f"time_limit={self.time}, memory_limit={self.memory}",
                due="seconds and MiB above 0",
            )

    def words(self) -> list[str]:
        """What asks for them on a command line.

        >>> Limits(time=5).words()
        ['--isolate', '--time-limit', '5']
        """
        usual = Limits()
        told = ["--isolate"]
        told += [] if self.time == usual.time else ["--time-limit", f"{self.time:g}"]
        return told + ([] if self.memory == usual.memory else ["--memory-limit", f"{self.memory}"])


@dataclass
class Process:
    """The process of one subject, started when first asked and again after each end.

    `task` is what the first message tells: the subject by name and how it is called; `kwargs` are
    the pickled arguments that go to it as they are. A request that ended the process is not
    put again: it is answered from memory.
    """

    task: Mapping[str, Any]
    kwargs: bytes
    limits: Limits = field(default_factory=Limits)
    ended: dict[str, SubjectGone] = field(default_factory=dict)
    _running: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _late: bool = field(default=False, init=False)
    _watch: Watch | None = field(default=None, init=False)

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def number(self) -> int | None:
        """The running process's number; None where none runs."""
        return None if self._running is None else self._running.pid

    def ask(
        self, request: Mapping[str, Any], arrays: Mapping[str, Array]
    ) -> tuple[dict[str, Any], dict[str, Array]]:
        """One request and its reply; SubjectFault for what it did instead of answering.

        Raises ParameterError or SubjectError for what its framework cannot take or do at all.
        """
        known = self.ended.get(digest(request, arrays)) if self.ended else None
        if known is not None:
            raise known
        if self._running is None:
            self._start()
        try:
            header, found = self._exchange(request, arrays, self.limits.time)
        except SubjectGone as gone:
            self.ended[digest(request, arrays)] = gone
            raise
        if "error" in header:
            raise _error(header)
        if "fault" in header:
            raise self._fault(header)
        return header, found

    def stop(self) -> None:
        """End the process from another thread than the one that waits for its answer."""
        running = self._running
        if running is not None:
            _kill(running)

    def close(self) -> None:
        """End the process, with all that it started."""
        running, self._running = self._running, None
        if running is None:
            return
        _kill(running)
        running.wait()
        if self._watch is not None:
            self._watch.end()
            self._watch = None
        for stream in (running.stdin, running.stdout):
            if stream is not None:
                try:
                    stream.close()
                except OSError:
                    continue

    def _start(self) -> None:
        if os.environ.get(INSIDE):
            raise SubjectError(
                "a subject's own process would judge again",
                hint="put the script's calls under `if __name__ == '__main__':`",
            )
        self._watch = Watch()
        home = str(Path(errors.__file__).parent.parent)
        places = [home, *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        self._running = subprocess.Popen(
            [sys.executable, "-P", "-m", "attnverify.subjects.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, INSIDE: "1", "PYTHONPATH": os.pathsep.join(filter(None, places))},
            start_new_session=True,
        )
        told = {**self.task, "path": sys.path, "memory": self.limits.memory}
        # Where it crashes is printed once: the next processes most often crash there as well.
        told["trace"] = not self.ended
        try:
            header, _ = self._exchange(
                told, {"kwargs": np.frombuffer(self.kwargs, np.uint8)}, LOADING
            )
        except SubjectGone as gone:
            raise SubjectError("the subject does not load", found=gone.message) from gone
        if "error" in header:
            self.close()
            raise _error(header)

    def _exchange(
        self, request: Mapping[str, Any], arrays: Mapping[str, Array], seconds: float
    ) -> tuple[dict[str, Any], dict[str, Array]]:
        """Send and receive under a clock that ends the process; SubjectGone where it has ended."""
        running = self._running
        if running is None or running.stdin is None or running.stdout is None:
            raise SubjectGone("the subject's process has not started")
        self._late = False
        clock = threading.Timer(seconds, self._expire, [running])
        clock.daemon = True
        clock.start()
        try:
            send(running.stdin, request, arrays)
            return receive(running.stdout, self.limits.memory * 2**20)
        except BrokenMessageError as error:
            self.close()
            raise SubjectGone(
                f"the subject's process sent what is no reply: {error.sentence()}"
            ) from error
        except (EOFError, OSError) as error:
            raise self._gone(running, seconds) from error
        except BaseException:
            # Half an exchange cannot be taken up again.
            self.close()
            raise
        finally:
            # The clock may strike while the last byte comes: what it did is seen to before more is
            # asked.
            clock.cancel()
            clock.join()
            if self._late:
                self.close()

    def _expire(self, running: subprocess.Popen[bytes]) -> None:
        """End a process that is still at work; one that ended by itself has no such excuse."""
        self._late = running.poll() is None
        _kill(running)

    def _gone(self, running: subprocess.Popen[bytes], seconds: float) -> SubjectGone:
        """Why there is no answer, in words."""
        try:
            code = running.wait(timeout=5)
        except subprocess.TimeoutExpired:
            code = None
        self.close()
        if self._late:
            return SubjectGone(
                f"the subject gave no answer within {seconds:g} s and was ended "
                "(time_limit sets how long a call may take)",
                hung=True,
            )
        return SubjectGone(_ending(code))

    def _fault(self, header: Mapping[str, Any]) -> SubjectFault:
        """A fault as the worker told it; a process without memory is replaced."""
        said = str(header["fault"])
        if header.get("spent"):
            self.close()
            said += f" (memory_limit allows it {self.limits.memory} MiB)"
        return SubjectFault(said, misuse=bool(header.get("misuse")))


def digest(request: Mapping[str, Any], arrays: Mapping[str, Array]) -> str:
    """One text for equal requests."""
    found = hashlib.sha256(json.dumps(request, sort_keys=True, default=str).encode())
    for name, array in arrays.items():
        found.update(f"{name} {array.dtype} {array.shape}".encode() + array.tobytes())
    return found.hexdigest()


def _ending(code: int | None) -> str:
    """How a process ended, from its exit status."""
    if code is None:
        return "the subject's process closed its pipe and did not end"
    if code >= 0:
        return f"the subject ended its process with exit status {code} in place of an answer"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"the subject crashed: its process was ended by {name}"


def _kill(running: subprocess.Popen[bytes]) -> None:
    """End a process and whatever it started, where there are process groups."""
    try:
        if hasattr(os, "killpg"):
            os.killpg(running.pid, signal.SIGKILL)
        else:
            running.kill()
    except (ProcessLookupError, PermissionError):
        return


def _error(header: Mapping[str, Any]) -> errors.AttnverifyError:
    """The error that the worker told, of the same kind."""
    kinds = {kind.__name__: kind for kind in (errors.ParameterError, errors.MissingExtraError)}
    kind: type[errors.AttnverifyError] = kinds.get(str(header["error"]), SubjectError)
    parts = {str(name): value for name, value in dict(header["parts"]).items()}
    return kind(str(header["message"]), **parts)
