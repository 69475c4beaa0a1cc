"""Ask a subject one case and compare every output and gradient with what is due."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnverify.check.where import error_map, where
from attnverify.compare import Due, Form, excess, form_fault, judge
from attnverify.dtypes import EIGHT_BITS
from attnverify.inputs import Case
from attnverify.rounding import Expected, Rounding, arrays_for
from attnverify.rounding.altered import Given
from attnverify.spec import Spec
from attnverify.subjects import Answerer, SubjectFault, SubjectGone, WrongForm, typed
from attnverify.verdict import Status, Verdict, Witness

Array = NDArray[Any]
FORWARD_ONLY = "backward is not judged: it was not asked for"


@dataclass(frozen=True)
class Answers:
    """The verdicts on one case, or why it was not judged.

    `misuse`: the call did not fit; `hung`: it ran past its time limit; `expected`: what was due.
    """

    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    skipped: str = ""
    misuse: str = ""
    hung: bool = False
    expected: Expected | None = field(default=None, repr=False)


class Judge:
    """One subject in one dtype against one spec."""

    def __init__(
        self,
        spec: Spec,
        subject: Answerer,
        dtype: str,
        *,
        internal: str | None = None,
        profile: str = "loose",
        backward: bool = True,
    ) -> None:
        self.spec, self.subject, self.dtype = spec, subject, dtype
        self.internal, self.profile = internal, profile
        self.backward = backward
        self.types = typed(spec, subject.plan.types, dtype)
        self._forward = Rounding(spec, dtype, internal=internal, profile=profile, types=self.types)
        self._whole: Rounding | None = None
        self.no_backward = "" if backward else FORWARD_ONLY

    def forward_name(self, output: str) -> str:
        """The name of a forward comparison."""
        return f"forward {output} ({self.dtype})"

    def backward_name(self, of: str) -> str:
        """The name of a comparison of gradients."""
        return f"backward d{of} ({self.dtype})"

    @property
    def dues(self) -> dict[str, str]:
        """The value that each comparison compares, by its name in what is due."""
        forward = {self.forward_name(name): name for name in self.subject.plan.judged}
        if self.no_backward:
            return forward
        slopes = self.whole.gradients
        return forward | {self.backward_name(n): slopes[n] for n in self.subject.plan.real}

    @property
    def names(self) -> list[str]:
        """Every comparison, forward first."""
        forward = [self.forward_name(name) for name in self.subject.plan.judged]
        real = [] if self.no_backward else self.subject.plan.real
        return [*forward, *(self.backward_name(name) for name in real)]

    @property
    def rounding(self) -> Rounding:
        """The bounds that a case is judged by: of gradients too, where they can be asked for."""
        return self._forward if self.no_backward or not self.subject.plan.real else self.whole

    @property
    def whole(self) -> Rounding:
        """Bounds of outputs and gradients together, derived when first asked for."""
        if self._whole is None:
            self._whole = Rounding(
                self.spec,
                self.dtype,
                internal=self.internal,
                profile=self.profile,
                backward=True,
                types=self.types,
            )
        return self._whole

    def look(self, case: Case) -> None:
        """Find out, on one case, whether the backward pass can be asked at all."""
        if self.backward:
            self.no_backward = self._reason(case)

    def _reason(self, case: Case) -> str:
        narrow = [name for name, kind in self.types.items() if kind.name in EIGHT_BITS]
        if narrow:
            return f"no gradient goes through what has 8 bits: {', '.join(narrow)}"
        if not self.subject.plan.real:
            return ""
        try:
            return self.subject.backward_reason(case.arrays, case.parameters)
        except SubjectFault:
            return ""

    def ask(self, case: Case, *, backward: bool = True, matched: bool = False) -> Answers:
        """The verdicts on one case; without `backward`, on its outputs alone.

        `matched` also tells how far answers go in directions that the errors of many may share.
        """
        asked = backward and not self.no_backward
        expected = self.expected(case, backward=asked, matched=matched)
        if expected.reason:
            return Answers(skipped=expected.reason)
        forward, fault = self._ask_forward(case, expected)
        misuse = str(fault) if fault is not None and fault.misuse else ""
        if isinstance(fault, SubjectGone):
            # What ended the process without gradients would end it again.
            slopes = self._no_gradients(fault) if asked else {}
        elif asked and not misuse:
            slopes, fault = self._ask_backward(case, expected)
        else:
            slopes = {}
        joined = {**forward, **{n: v for n, v in slopes.items() if n not in forward}}
        for name, verdict in forward.items():
            again = slopes.get(name)
            if (
                verdict.status is Status.HELD
                and again is not None
                and again.status is Status.REFUTED
            ):
                joined[name] = replace(
                    again, detail=f"when a gradient is asked for: {again.detail}"
                )
        witnessed = {name: self.witnessed(verdict, case) for name, verdict in joined.items()}
        hung = isinstance(fault, SubjectGone) and fault.hung
        return Answers(witnessed, misuse=misuse, hung=hung, expected=expected)

    def expected(self, case: Case, *, backward: bool = False, matched: bool = False) -> Expected:
        """What is due for one case, or why nothing can be told."""
        rounding = self.whole if backward else self._forward
        arrays = {**case.arrays, **(self.seeds(case) if backward else {})}
        given = (arrays, case.parameters, case.seed, case.sizes)
        return rounding.expected(*given, matched=matched)

    def given(self, case: Case) -> Given:
        """A case as faults are put into it."""
        seeds = self.seeds(case) if self.rounding is self._whole else {}
        return self.rounding.given({**case.arrays, **seeds}, case.parameters, case.sizes)

    def seeds(self, case: Case) -> dict[str, Array]:
        """The cotangents under the names that the gradient spec gives them."""
        return {self.whole.cotangents[out]: array for out, array in case.cotangents.items()}

    def _ask_forward(
        self, case: Case, expected: Expected
    ) -> tuple[dict[str, Verdict], SubjectFault | None]:
        try:
            outputs = self.subject.forward(case.arrays, case.parameters)
        except SubjectFault as fault:
            faulty = {
                self.forward_name(n): _faulty(self.forward_name(n), fault)
                for n in self.subject.plan.judged
            }
            return faulty, fault
        return self._judged_outputs(outputs, case, expected), None

    def _judged_outputs(
        self, outputs: Mapping[str, Array], case: Case, expected: Expected
    ) -> dict[str, Verdict]:
        found = {}
        for name, got in outputs.items():
            title = self.forward_name(name)
            due = expected.dues[name]
            found[title] = _about(self._compared(title, got, due, case, of=name), name)
        return found

    def outputs(
        self, outputs: Mapping[str, Array], case: Case, expected: Expected | None = None
    ) -> list[Verdict]:
        """The verdicts on outputs that were had in some other way than `ask`."""
        expected = self.expected(case) if expected is None else expected
        return [] if expected.reason else [*self._judged_outputs(outputs, case, expected).values()]

    def restored(self, outputs: Mapping[str, Array], case: Case) -> Array:
        """The first output in the spec's axis order; WrongForm for a form that is not due."""
        name = self.spec.outputs[0]
        return self.restored_as(name, outputs[name], case)

    def restored_as(self, name: str, array: Array, case: Case) -> Array:
        """An array in the spec's axis order, where it lies as an output or an input does.

        WrongForm for a shape or a type that is not due.
        """
        form = self._form(name, case, name)
        fault = form_fault(array, form)
        if fault:
            raise WrongForm(f"the answer has {fault}")
        return form.restore(array)

    def exactly(self, case: Case, *, backward: bool = False) -> dict[str, Array]:
        """The outputs of the spec's own oracle, and its gradients, in its working type."""
        oracle = (self.whole if backward else self._forward).oracle
        seeds = self.seeds(case) if backward else {}
        arrays = arrays_for(oracle.dtype, {**case.arrays, **seeds})
        return oracle(**arrays, **case.parameters, sizes=case.sizes)

    def slopes(self, case: Case, expected: Expected, view: str) -> list[Verdict]:
        """The verdicts on gradients where inputs and cotangents lie in memory in a way of views."""
        found, fault = self._ask_backward(case, expected, view)
        if fault is not None:
            raise fault
        return [*found.values()]

    def _ask_backward(
        self, case: Case, expected: Expected, view: str = ""
    ) -> tuple[dict[str, Verdict], SubjectFault | None]:
        names = {name: self.backward_name(name) for name in self.subject.plan.real}
        try:
            outputs, gradients = self.subject.backward(
                case.arrays, case.cotangents, case.parameters, view=view
            )
        except SubjectFault as fault:
            return self._no_gradients(fault), fault
        found = self._judged_outputs(outputs, case, expected)
        for name, title in names.items():
            due = expected.dues[self.whole.gradients[name]]
            compared = self._compared(title, gradients[name], due, case, of=name)
            found[title] = _about(compared, f"d{name}")
        return found, None

    def _compared(self, title: str, got: Array | None, due: Due, case: Case, *, of: str) -> Verdict:
        """One comparison; a failure of values says where, and carries a map of the error."""
        form = self._form(of, case, of)
        verdict = judge(title, got, due, form)
        if verdict.status is not Status.REFUTED or got is None:
            return verdict
        beyond = excess(got, due, form)
        if beyond is None:
            return verdict
        told = {
            "where": where(beyond > 1, due.axes, case.parameters),
            "map": error_map(beyond, due.axes),
        }
        return replace(verdict, evidence={**verdict.evidence, **told})

    def _no_gradients(self, fault: SubjectFault) -> dict[str, Verdict]:
        names = [self.backward_name(name) for name in self.subject.plan.real]
        return {name: _faulty(name, fault) for name in names}

    def _form(self, name: str, case: Case, like: str) -> Form:
        """The due form of an output, or of a gradient, which lies as its array does."""
        layout = self.subject.plan.layout.at(case.arrays)

        def restore(array: Array) -> Array:
            return layout.inward(like, array, case.sizes)

        kind = self.types.get(name)
        dtype = self.dtype if kind is None else kind.name
        return Form(layout.shape(like, case.sizes), layout.pattern(name), dtype, restore)

    def witnessed(self, verdict: Verdict, case: Case) -> Verdict:
        """A refuted verdict carries the arrays of its case."""
        if verdict.status is not Status.REFUTED:
            return verdict
        kept = {name: np.asarray(array) for name, array in case.arrays.items()}
        if not self.no_backward:
            kept |= self.seeds(case)
        kept |= {name: np.asarray(value) for name, value in case.parameters.items()}
        witness = replace(
            verdict.witness or Witness(), sizes=case.sizes, arrays=kept, seed=case.seed
        )
        return replace(verdict, witness=witness)


def _about(verdict: Verdict, tensor: str) -> Verdict:
    """The verdict with the tensor named in its witness."""
    if verdict.witness is None:
        return verdict
    return replace(verdict, witness=replace(verdict.witness, tensor=tensor))


def _faulty(name: str, fault: SubjectFault) -> Verdict:
    return Verdict(name, Status.REFUTED, str(fault), witness=Witness(note=str(fault)))


__all__ = ["Answers", "Judge"]
