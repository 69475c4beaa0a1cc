"""Audit a test: every mutant of a spec is put in for what the test calls, and must be noticed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from attnverify.audit.differences import Differences, draws
from attnverify.audit.runs import Test, as_test
from attnverify.audit.substitute import Substitute, substituted
from attnverify.check.run import judge_of
from attnverify.check.settings import Settings
from attnverify.errors import ParameterError, RefutedError
from attnverify.inputs import Case
from attnverify.library import load
from attnverify.spec import Spec
from attnverify.transforms.mutate import Mutant, mutants
from attnverify.verdict import Report, Section, Status, Verdict

OnVerdict = Callable[[str, Verdict], object]
DTYPE = "float32"


def audit(
    test: str | Test,
    spec: str | Spec,
    *,
    framework: str = "numpy",
    target: str = "",
    inputs: Mapping[str, str] | None = None,
    seed: int = 0,
    subject_name: str = "",
    on_verdict: OnVerdict | None = None,
    **params: Any,
) -> Report:
    """Put every known bug of a spec in the place of what a test calls, and say which it lets pass.

    `test` takes an implementation and raises where it is unhappy, or is a test of pytest
    ("tests/test_mine.py::test_attention"), in which `target` ("package.module:function") is
    replaced.  What stands in takes arrays of `framework` ("numpy", "torch" or "jax") as the spec
    lists them, under its names or those that `inputs` maps them to, and can be differentiated: the
    gradient is the mutant's own.  Each verdict is one mutant: HELD where the test fails on it,
    REFUTED where it passes, with who had that bug and the cheapest draw that shows it.  Mutants
    that differ from the spec on no draw are named in the section's figures and count for nothing.

    Raises ParameterError where the test fails on the spec itself, or cannot be run.

    >>> def test(fn):
    ...     ones = np.ones((1, 1, 2, 2))
    ...     assert (fn(ones, ones, ones) == 1).all()
    >>> import numpy as np
    >>> report = audit(test, "global")
    >>> report.ok, report.sections[0].figures["score"] < 0.5
    (False, True)
    """
    found = load(spec, **params) if isinstance(spec, str) else spec
    asked = Audited(as_test(test, target), found, framework, dict(inputs or {}), seed)
    name = subject_name or (test if isinstance(test, str) else getattr(test, "__name__", "test"))
    asked.begin()
    verdicts = []
    for verdict in asked.verdicts():
        verdicts.append(verdict)
        if on_verdict is not None:
            on_verdict(found.name, verdict)
    noticed = sum(v.status is Status.HELD for v in verdicts)
    judged = sum(v.status is not Status.UNDECIDED for v in verdicts)
    figures = {
        "kind": "audit",
        "score": noticed / judged if judged else 1.0,
        "equivalent": asked.equivalent,
        "notes": [f"No draw tells it from the spec: {told}" for told in asked.equivalent],
        "description": f"{noticed} of {judged} wrong attentions are noticed.",
    }
    return Report((Section(found.name, tuple(verdicts), str(name), figures),))


@dataclass
class Audited:
    """One test against one spec: what it says of the spec itself, and of each mutant."""

    test: Test
    spec: Spec
    framework: str
    inputs: Mapping[str, str]
    seed: int
    equivalent: list[str] = field(default_factory=list)

    def begin(self) -> None:
        """Put the spec itself to the test, which must pass."""
        said, fault = self._said(self.spec)
        if said or fault:
            raise ParameterError(
                "a test that fails on what is right cannot be audited",
                spec=self.spec.name,
                found=said or fault,
                hint="compare with a tolerance that rounding needs, or name another spec",
            )

    def verdicts(self) -> Iterator[Verdict]:
        """One verdict for each mutant that some draw tells from the spec."""
        differences = Differences(self.spec, draws(self.spec, self.seed, DTYPE))
        for mutant in mutants(self.spec):
            case = differences.cheapest(mutant.spec)
            if case is None:
                self.equivalent.append(mutant.sentence)
            else:
                yield self._verdict(mutant, case, differences.place(case))

    def _said(self, spec: Spec) -> tuple[str, str]:
        """What the test says of a spec, and what the spec itself failed by; empty where nothing."""
        whole = Substitute(spec)
        fn = substituted(whole, self.framework, self.inputs)
        try:
            self.test(fn)
        except ParameterError:
            raise
        except BaseException as found:
            if isinstance(found, KeyboardInterrupt):
                raise
            told = f"{type(found).__name__}: {found}".strip().partition("\n")[0]
            # What the mutant cannot compute at all has not been noticed by the test.
            return ("", told) if whole.faults else (told, "")
        return "", ""

    def _verdict(self, mutant: Mutant, case: Case, place: int) -> Verdict:
        said, fault = self._said(mutant.spec)
        operator = mutant.operator
        evidence = {
            "operator": operator.name,
            "bugs": list(operator.bugs),
            "citations": [f"{c.bug}: {c.title}, {c}" for c in operator.citations],
            "draw": place,
            "sizes": dict(case.sizes),
            "style": case.style,
            "seed": case.seed,
        }
        if fault:
            status, detail = Status.UNDECIDED, f"it cannot compute what the test asks: {fault}"
        elif said:
            status, detail = Status.HELD, f"the test notices: {said}"
        else:
            status, detail = Status.REFUTED, f"the test lets it pass; {shown(case)} shows it"
        scope = "known bugs"
        return Verdict(mutant.sentence, status, detail, cases=1, scope=scope, evidence=evidence)


def shown(case: Case) -> str:
    """A draw in words.

    >>> from attnverify.inputs import Draw
    >>> shown(Draw(load("causal")).case({"keys": 2}, seed=4))
    'batch=1 heads=1 queries=1 key_dim=1 keys=2 value_dim=1 (normal entries, seed 4)'
    """
    sizes = " ".join(f"{axis}={size}" for axis, size in case.sizes.items())
    return f"{sizes} ({case.style} entries, seed {case.seed})"


def suggested(
    report: Report, spec: str | Spec, *, framework: str = "numpy", seed: int = 0, **params: Any
) -> Test:
    """The test that the survivors of an audit call for: their cheapest draws, and no more.

    It judges an implementation on these draws under the derived bound, and raises RefutedError
    where one is wrong; `spec`, `framework` and `seed` are those of the audit.

    >>> import numpy as np
    >>> def nothing(fn): ...
    >>> extra = suggested(audit(nothing, "luong_dot"), "luong_dot")
    >>> audit(extra, "luong_dot").ok
    True
    """
    found = load(spec, **params) if isinstance(spec, str) else spec
    wanted = {v.evidence["draw"] for v in report.verdicts if v.status is Status.REFUTED}
    cases = [case for n, case in enumerate(draws(found, seed, DTYPE)) if n in wanted]

    def test(fn: Any) -> None:
        judge = judge_of(Settings(fn, found, spec_name=found.name, framework=framework), DTYPE)
        for case in cases:
            answers = judge.ask(case, backward=False)
            wrong = [v for v in answers.verdicts.values() if v.status is Status.REFUTED]
            if wrong:
                raise RefutedError(wrong[0].detail, verdicts=wrong)

    return test
