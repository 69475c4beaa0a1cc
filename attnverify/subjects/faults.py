"""What a subject did instead of answering, in words."""

from __future__ import annotations

from attnverify.errors import SubjectError


class SubjectFault(SubjectError):  # noqa: N818  a fault of the subject's, which is judged
    """What a subject did instead of answering: raised, returned no array, changed an input.

    `misuse` tells that the call itself did not fit the function (an unexpected keyword).
    """

    def __init__(self, message: str, *, misuse: bool = False) -> None:
        super().__init__(message)
        self.misuse = misuse


class WrongForm(SubjectFault):
    """An answer of another shape or type than is due."""


class SubjectGone(SubjectFault):
    """The subject's own process ended, or had to be ended, before it answered.

    `hung` tells that it ran past its time limit, so that asking again costs as much again.
    """

    def __init__(self, message: str, *, hung: bool = False) -> None:
        super().__init__(message)
        self.hung = hung
