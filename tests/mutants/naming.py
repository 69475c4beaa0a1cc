"""Which mutants are named: the search for a known bug that gives a mutant's own answers."""

from __future__ import annotations

import inspect
from typing import Any

import attnverify as av
from attnverify.check.diagnose import Diagnosis
from attnverify.check.diagnose_backward import BackwardDiagnosis
from attnverify.check.explanation import Explanation
from attnverify.check.run import judge_of
from attnverify.check.settings import Settings, declared
from attnverify.inputs import Draw
from attnverify.subjects import named_outputs
from tests.mutants.registry import Mutant, Pair

# The forward is right, and gradients are not.
GRADIENTS = {
    "GRD-01", "GRD-03", "GRD-06", "GRD-07", "GRD-08", "GRD-10", "GRD-11", "GRD-15", "GRD-17",
    "DRP-03", "LAY-06",
}  # fmt: skip
ARITHMETIC = "the equations are right, and the arithmetic is not"
MEMORY = "the equations are right, and memory is read in another order"
KEPT = "what it answers depends on earlier calls"
CHANCE = "what it answers depends on chance"
UNNAMED = {
    "POS-21": "a table of its own, which no operator knows",
    "POS-22": "no operator shifts rows as a wrong reshape does",
    "DRP-07": "no operator drops channels of the output",
    "EDG-06": "masked NaN leak, which draws do not have",
    "EDG-10": "its answer has a shape that is not due",
    "DRP-01": CHANCE,
    "DRP-06": KEPT,
    "POS-07": KEPT,
    "POS-25": KEPT,
    "POS-06": ARITHMETIC,
    "NUM-01": ARITHMETIC,
    "NUM-04": ARITHMETIC,
    "NUM-07": ARITHMETIC,
    "NUM-09": ARITHMETIC,
    "NUM-11": ARITHMETIC,
    "HED-04": MEMORY,
    "HED-05": MEMORY,
    "HED-09": MEMORY,
    "LAY-01": MEMORY,
    "LAY-07": MEMORY,
}


def explained(mutant: Mutant, wrong: bool) -> list[Explanation]:
    """What the search finds for a mutant, or for its twin, in float32."""
    built = mutant.build(wrong)
    forward, backward = built if isinstance(built, Pair) else (built, None)
    own = set(inspect.signature(av.check).parameters)
    told: dict[str, Any] = dict(mutant.settings)
    base = mutant.spec() if callable(mutant.spec) else mutant.spec
    empty = told.get("empty_rows")
    chosen = {name: value for name, value in told.items() if name not in own}
    spec = av.load(base, **chosen, **declared(base, empty, None))
    if "outputs" in told:
        spec = spec.replace(outputs=named_outputs(told["outputs"]))
    call = {n: told[n] for n in ("layout", "kwargs", "inputs", "outputs", "sizes") if n in told}
    settings = Settings(forward, spec, vjp=backward, empty_rows=empty, **call)
    judge = judge_of(settings, "float32")
    draw = Draw(spec, dtype="float32", support=settings.sizes, empty=empty is not None)
    if mutant.bug in GRADIENTS:
        judge.look(next(draw.schedule(0, 1)))
        return BackwardDiagnosis(judge, draw, [], 0, seconds=60, clock=300).explanations()
    return Diagnosis(judge, draw, [], 0, seconds=60, clock=300).explanations()


def first_bugs(mutant: Mutant) -> tuple[str, ...]:
    """The bugs that the first explanation of a mutant stands for; none without one."""
    found = explained(mutant, True)
    return found[0].mutant.operator.bugs if found else ()
