"""Whoever answers for a subject: the framework in this process, or a process of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from attnverify.compare import same_bits
from attnverify.subjects.faults import SubjectFault
from attnverify.verdict import Status

if TYPE_CHECKING:
    from attnverify.subjects.base import Plan

Array = NDArray[Any]
Arrays = Mapping[str, Array]
Values = Mapping[str, Any]


@dataclass(frozen=True)
class Answer:
    """Outputs and gradients by name, and the inputs as they were after the call.

    A framework whose arrays cannot be written to gives no inputs back.
    """

    outputs: Arrays
    gradients: Mapping[str, Array | None] = field(default_factory=dict)
    after: Arrays = field(default_factory=dict)


@dataclass(frozen=True)
class Pair:
    """Two calls in a row: the first outputs when they came and after the second call.

    `views` names each output of the second call that lies in the memory of an input, with it;
    `kept` are the inputs of the first call after the second.
    """

    first: Arrays
    later: Arrays
    second: Answer
    views: tuple[tuple[str, str], ...] = ()
    kept: Arrays = field(default_factory=dict)


class Answerer(ABC):
    """Someone else's implementation, wrapped: arrays in by name, arrays as they came out.

    Arrays go in in the spec's axis order and the subject's dtype; what comes out stays in the
    subject's own layout, so that its shape and type can be judged first.
    """

    plan: Plan

    def forward(self, arrays: Arrays, parameters: Values, *, view: str = "") -> dict[str, Array]:
        """The outputs by name; raises SubjectFault for what cannot be judged by values.

        `view`: how the inputs lie in memory, one of `VIEWS`; contiguous without one.
        """
        laid = self.laid(arrays)
        answer = self.answered(laid, parameters, view=view)
        unchanged(laid, answer)
        return dict(answer.outputs)

    def backward(
        self, arrays: Arrays, cotangents: Arrays, parameters: Values, *, view: str = ""
    ) -> tuple[dict[str, Array], dict[str, Array | None]]:
        """The outputs and the gradients, from the framework's autodiff or the given VJP.

        `view`: how inputs and cotangents lie in memory.
        """
        laid, seeds = self.laid(arrays), self.laid(cotangents, case=arrays)
        answer = self.pulled(laid, seeds, parameters, view=view)
        unchanged(laid, answer)
        return dict(answer.outputs), dict(answer.gradients)

    def twice(self, earlier: Arrays, arrays: Arrays, parameters: Values) -> Pair:
        """A call on `earlier`, then one on `arrays`."""
        before, laid = self.laid(earlier), self.laid(arrays)
        pair = self.paired(before, laid, parameters)
        unchanged(laid, pair.second)
        unchanged(before, Answer({}, after=pair.kept), "of an earlier call ")
        return pair

    def laid(self, arrays: Arrays, *, case: Arrays | None = None) -> dict[str, Array]:
        """The arrays as the subject wants them, which it is given copies of.

        `case`: the inputs that they go with, which say how long packed sequences are.
        """
        layout = self.plan.layout.at(arrays if case is None else case)
        return {name: layout.outward(name, array) for name, array in arrays.items()}

    def backward_reason(self, _arrays: Arrays, _parameters: Values) -> str:
        """Why the backward pass cannot be asked; empty where it can."""
        return ""

    @abstractmethod
    def answered(self, laid: Arrays, parameters: Values, *, view: str = "") -> Answer:
        """One call on arrays in the subject's layout."""

    @abstractmethod
    def pulled(self, laid: Arrays, seeds: Arrays, parameters: Values, *, view: str = "") -> Answer:
        """One call and its gradients under the cotangents `seeds`."""

    @abstractmethod
    def paired(self, earlier: Arrays, laid: Arrays, parameters: Values) -> Pair:
        """Two calls in a row."""


def unchanged(laid: Arrays, answer: Answer, whose: str = "") -> None:
    """SubjectFault where an input does not hold the bits that went in."""
    for name, array in answer.after.items():
        if same_bits(name, array, laid[name]).status is not Status.HELD:
            raise SubjectFault(f"the subject changed its input {name} {whose}in place")
