"""The one family of errors; catch `AttnverifyError` to catch them all.

AttnverifyError
├── SpecError                 a spec is not well formed
│   └── UnknownPrimitiveError a node has no rule for what is asked of it
├── LoadError                 a spec file or a spec's name does not load
├── TraceError                a Python function cannot be traced into a spec
├── ParameterError            a parameter or setting is unknown, missing or out of its domain
├── ShapeError                arrays do not fit the spec
├── SubjectError              the judged function could not be run as told
├── MissingExtraError         an optional package is not installed
├── ReportError               a report or a store of verdicts cannot be read or written
├── RefutedError              a report is not ok; carries the verdicts that make it so
└── UsageError                a command line asks for what there is not
"""

from __future__ import annotations

from collections.abc import Sequence


class AttnverifyError(Exception):
    """Something was asked that cannot be done; says what was found, what was due and what to do.

    The keyword parts (`spec=`, `equation=`, `index=`, `found=`, `due=`, `hint=`, or any other name)
    are rendered under the message, one line each; empty ones are left out.

    >>> print(AttnverifyError("an index is unbound", spec="causal", index="j", hint="sum over j"))
    an index is unbound
      spec: causal
      index: j
      hint: sum over j
    """

    def __init__(self, message: str, **parts: object) -> None:
        told = {name: "" if value is None else str(value) for name, value in parts.items()}
        self.message = message
        # What to do is read last.
        ordered = sorted(told.items(), key=lambda part: part[0] == "hint")
        self.parts = {name: value for name, value in ordered if value}
        super().__init__(_rendered(message, self.parts))

    def sentence(self) -> str:
        """The message and its parts on one line, for a terminal that shows no more.

        >>> LoadError("no spec of this name", spec="gobal", hint="did you mean global?").sentence()
        'no spec of this name (spec: gobal); did you mean global?'
        """
        hint = self.parts.get("hint")
        told = [f"{name}: {value}" for name, value in self.parts.items() if name != "hint"]
        facts = "; ".join(told)
        line = f"{self.message} ({facts})" if facts else self.message
        return " ".join((f"{line}; {hint}" if hint else line).split())


def _rendered(message: str, parts: dict[str, str]) -> str:
    """The message with its parts below it; a part of several lines is indented as a whole."""
    lines = [f"  {name}: " + value.replace("\n", "\n    ") for name, value in parts.items()]
    return "\n".join([message, *lines])


class SpecError(AttnverifyError):
    """A spec is not well formed."""


class UnknownPrimitiveError(SpecError):
    """A node of a spec has no rule for what is asked of it."""


class LoadError(AttnverifyError):
    """A spec file or a spec's name does not load."""


class TraceError(AttnverifyError):
    """A Python function cannot be traced into a spec; the message names the line and says why."""


class ParameterError(AttnverifyError):
    """A parameter or setting is unknown, missing or out of its domain."""


class ShapeError(AttnverifyError):
    """Arrays do not fit the spec."""


class SubjectError(AttnverifyError):
    """The judged function could not be run as told."""


class MissingExtraError(AttnverifyError):
    """An optional package is not installed; the message names the extra that brings it.

    >>> print(MissingExtraError("judging a torch function", extra="torch"))
    judging a torch function needs a package that is not installed
      extra: torch
      hint: pip install "attnverify[torch]"
    """

    def __init__(self, what: str, *, extra: str = "", **parts: object) -> None:
        if extra:
            parts = {"extra": extra, "hint": f'pip install "attnverify[{extra}]"', **parts}
            what = f"{what} needs a package that is not installed"
        super().__init__(what, **parts)


class ReportError(AttnverifyError):
    """A report or a store of verdicts cannot be read or written."""


class RefutedError(AttnverifyError):
    """A report is not ok; `verdicts` are those that make it so."""

    def __init__(self, message: str, *, verdicts: Sequence[object] = (), **parts: object) -> None:
        super().__init__(message, **parts)
        self.verdicts = tuple(verdicts)


class UsageError(AttnverifyError):
    """A command line asks for what there is not."""
