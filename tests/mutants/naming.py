"""Which mutants are named: what `check` gives as the explanation of each, and of its twin."""

from __future__ import annotations

import inspect
import tempfile
from typing import Any

import attnverify as av
from attnverify.check.diagnose import Diagnosis
from attnverify.check.diagnose_backward import BackwardDiagnosis
from attnverify.check.explained import all_explanations
from attnverify.check.run import judge_of
from attnverify.check.settings import Settings, declared
from attnverify.inputs import Draw
from attnverify.subjects import named_outputs
from tests.mutants.registry import Mutant, Pair
from tests.mutants.trial import tried

# What a check has no name for, and why.  A wrong name would be worse than none.
UNNAMED = {
    "POS-21": "a table of its own, which no operator knows",
    "POS-22": "no operator shifts rows as a wrong reshape does",
}
# At least this share of single bugs is to be named right as the first explanation.
SHARE = 0.95


def first_bugs(mutant: Mutant) -> list[tuple[str, ...]]:
    """The bugs that the first explanation of each failing comparison stands for."""
    with tempfile.TemporaryDirectory() as store:
        refuted = tried(mutant, True, store, explain=True).refuted
    told = [verdict.evidence["explained"] for verdict in refuted if "explained" in verdict.evidence]
    return [tuple(one[0]["bugs"]) for one in told]


def search_of(mutant: Mutant, wrong: bool) -> Diagnosis:
    """The search for a mutant, or for its twin, in float32, without what a check saw before."""
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
    if backward is None:
        return Diagnosis(judge, draw, [], 0, seconds=60, clock=300)
    judge.look(next(draw.schedule(0, 1)))
    return BackwardDiagnosis(judge, draw, [], 0, seconds=60, clock=300)


def explanations(mutant: Mutant, wrong: bool) -> list[str]:
    """What the whole search says of a mutant, or of its twin."""
    found = all_explanations(search_of(mutant, wrong))
    return [str(one.plain()["sentence"]) for one in found]
