"""What the checker of certificates takes and what it rejects: every step of every proof, bent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import z3

from attnverify import load
from attnverify.algebra.terms import as_expr, total
from attnverify.certify import HEAD, UNCHECKED, Rejected, certified, check, parts, steps_of, told
from attnverify.certify import query as asking
from attnverify.certify.check import QUESTION
from attnverify.notation import absolute, eq, exp, log, tanh, where
from attnverify.provers import induction
from attnverify.provers.normal import prove
from attnverify.recheck import recheck
from attnverify.statement import Relabel, Statement
from attnverify.verdict import Report, Section, Status, Verdict
from attnverify.verify import verify
from tests.corrupt import corruptions
from tests.provers.corpus import rules
from tests.provers.corpus.common import claim, i, j, l, n, n_q, p, s, x, y
from tests.provers.judge import refutation
from tests.provers.mutate import statement_mutants
from tests.test_provers import FALSE
from tests.test_provers import TRUE as PROVED

# Those that are proved by rules that the checker has not: what it says of each.
APART = {
    "cases of an exponent": "exp: the value that is claimed is not seen to be the function's",
    # root(Z) root(Z) = Z where Z is not negative: to the checker a root is a function as any other.
    "a root squared": "2 terms are left over",
    "what turns with a row over its length leaves it": "4 terms are left over",
}
EVERY = [*PROVED, *rules.TRUE]
# Comparisons of reals, which nothing else in the corpus has.
TRUE = [
    *(one for one in EVERY if one.name not in APART and one not in rules.PAIRS),
    claim("a real is below or above", total(where(x[j] <= y[j]) + where(x[j] > y[j]), j), n),
    claim("a smaller one is not larger", where(x[j] < y[j]) * where(y[j] <= x[j]), 0),
]
# Those of which every single step is bent: every seventh, and some for each rare kind of step.
RARE = {
    "between bounds there is one", "pairs above and below", "positions up to one",
    "positions weighted by a row", "a product of a window and a size counted",
    "one term of a sum of squares", "weights with a sink are at most one",
    "an inverse on the diagonal", "a function on the diagonal", "symmetric functions of pairs",
    "a hypothesis on lengths", "a bound under a hypothesis", "a real is below or above",
    "a smaller one is not larger", "positive sums do not vanish", "rows sum to one",
    "log of a mass shifted", "exp of minus log of a mass", "absolute of a negative",
    "two masks inside each other", "a mask inside an inverse", "the last key of two sums",
    "entmax sums to one", "a masked maximum shifted", "a difference of inverses",
    "tanh moves little", "weights under a bump", "exp of less a length", "one block of all",
}  # fmt: skip
BENT = [one for place, one in enumerate(TRUE) if place % 7 == 3 or one.name in RARE]
STEPS = ("variables", "opaque", "end", "class", "twin", "collapse", "support", "value", "compared",
         "law", "restate", "count", "threshold", "narrow", "times", "part",
         "decay", "tanh")  # fmt: skip

a_true_one = pytest.mark.parametrize("statement", TRUE, ids=lambda s: s.name)


@cache
def certificate(place: int) -> tuple[str, ...]:
    """The certificate of a statement that is proved."""
    return certified(TRUE[place], prove(TRUE[place]).lines)


@pytest.fixture(scope="module")
def context() -> z3.Context:
    """One state of z3's for many certificates: making one takes longer than most checks."""
    return z3.Context()


@pytest.mark.parametrize("place", range(len(TRUE)), ids=lambda n: TRUE[n].name)
def test_every_proof_of_the_corpus_is_followed(place: int, context: z3.Context) -> None:
    found = check(TRUE[place], certificate(place), context=context)
    assert not found.perhaps or set(found.perhaps) <= set(certificate(place))


@pytest.mark.parametrize("name", APART)
def test_a_proof_by_rules_that_the_checker_lacks_says_so(name: str) -> None:
    (statement,) = (one for one in EVERY if one.name == name)
    proof = induction.prove(statement)
    assert proof.proved
    part = told(statement, proof.certificate, proof.lines)
    assert part[-1] == f"{UNCHECKED}{APART[name]}"
    assert steps_of(part) is None


def test_every_kind_of_step_is_in_a_certificate_that_is_bent() -> None:
    bent = {id(statement) for statement in BENT}
    kinds = Counter(
        line[1:].split()[0].rstrip(")")
        for place, statement in enumerate(TRUE)
        for line in certificate(place)
        if id(statement) in bent
    )
    assert set(kinds) == {*STEPS, "set-logic"}


@pytest.mark.parametrize("statement", BENT, ids=lambda s: s.name)
def test_no_bent_step_is_taken(statement: Statement, context: z3.Context) -> None:
    whole = certificate(TRUE.index(statement))
    taken = [
        words for words, other in corruptions(whole) if follows(statement, other, context=context)
    ]
    assert taken == []


def follows(
    statement: Statement, lines: Sequence[str], *, context: z3.Context | None = None
) -> bool:
    try:
        check(statement, lines, context=context)
    except Rejected:
        return False
    return True


def test_what_a_certificate_proves_is_true_whatever_it_was_made_for(context: z3.Context) -> None:
    tried = taken = 0
    for place in range(0, len(TRUE), 16):
        for mutant in list(statement_mutants(TRUE[place]))[:30]:
            tried += 1
            if follows(mutant, certificate(place), context=context):
                taken += 1
                assert refutation(mutant, 20) is None, mutant.text()
    assert tried > 200
    assert taken < tried / 2


def test_no_certificate_proves_a_false_statement(context: z3.Context) -> None:
    some = [(), *(certificate(place) for place in range(7, len(TRUE), 60))]
    for statement in FALSE:
        for lines in some:
            assert not follows(statement, lines, context=context), statement.text()


# ---- certificates that somebody has made up

ZERO_IS_ONE = claim("zero is one", x[j] * 0, 1)
FIRST = claim("the first is all", total(where(j <= l) * x[j], j), total(x[j], j))
COUNT = claim("a count", total(where(j <= l), j), l)
AT_FIRST = claim("a count at the first", total(where(j <= l), j), 1, given=[eq(j.axis["i0"], 0)])
EXP_LOG = claim("exp of the log of anything", exp(log(x[j])), x[j])
ABSOLUTE = claim("an absolute value", absolute(x[j]), x[j])
MASKED = claim("a mask inside", tanh(where(p[j]) * x[j]), tanh(x[j]))
MOVED = claim(
    "a map of keys", where(j >= n_q) * x[j] ** 2, where(j >= n_q) * x[j] ** 2, kind="bound",
    relabels=[Relabel("keys", ("x",), ("j",), bijection=False)],
)  # fmt: skip
TWO_MAPS = (Relabel("keys", ("x",), ("j",)), Relabel("queries", ()))
NEGATIVE = claim("no sign", x[j], kind="sign")


def bump_to(power: int) -> str:
    """A power of the exp that is class 0."""
    return f"(exp || 0 {power} v0)"


FORGED: list[tuple[Statement, list[str], str]] = [
    (ZERO_IS_ONE, [], "left over"),
    (ZERO_IS_ONE, ["(variables keys)", "(law 0 nonzero () (term () ((1))))"], "class 0"),
    # A class that is not 0 where it is 0: no such thing.
    (
        ZERO_IS_ONE,
        ["(variables keys)", "(class 0 () ((term () ((1) (-1 (known |nonzero 0|))))))",
         "(law 0 nonzero () (term () ((-1))))"],
        "no such fact",
    ),
    (ZERO_IS_ONE, ["(variables keys keys)", "(class 0 (v1) ((term () ((1)) (x x 1 v0))))"],
     "more than its slots"),
    (ZERO_IS_ONE, ["(variables keys keys)", "(class 0 (v1 v1) ((term () ((1)) (x x 1 v1))))"],
     "stands twice"),
    (ZERO_IS_ONE, ["(variables keys keys)", "(class 0 (v1) ((term () ((1)) (inv || 0 1 v1))))"],
     "not defined before"),
    (
        ZERO_IS_ONE,
        ["(variables keys keys)", "(class 0 (v1) ((term () ((1)) (x x 1 v1))))",
         "(support 0 true)"],
        "may be negative",
    ),
    (
        ZERO_IS_ONE,
        ["(variables keys keys keys)", "(class 0 (v1 v2) ((term () ((1)) (x g 1 v1 v2))))",
         "(twin 0 1 0)"],
        "not seen to be the same",
    ),
    (ZERO_IS_ONE, ["(variables keys)", "(restate (term () ((1))) ())"], "restated"),
    (ZERO_IS_ONE, ["(variables keys)", "(restate (term () ((1))) ((0)))"], "restated"),
    (FIRST, ["(variables queries keys keys)"], "declared along"),
    (ZERO_IS_ONE, ["(variables keys)", "(value exp (term () ((1))))"], "stands nowhere"),
    (ZERO_IS_ONE, ["(variables keys)", "(trust me)"], "no such step"),
    (ZERO_IS_ONE, ["(variables keys)", "(opaque nothing)"], "no such name"),
    (ZERO_IS_ONE, ["(variables keys"], "bracket"),
    (FIRST, ["(variables keys keys keys)"], "left over"),
    # One too few: from 0 to l - 1, and to l where l is no position of the axis's own.
    *(
        (
            COUNT,
            ["(variables keys keys)",
             ("(count v1 (<= (+ 0 (1 (v || v1)) (-1 (v || v0)))) (term () ((1)))"
             f" ((true (+ {first}) (+ {last} (1 (v || v0))))))")],
            "other bounds",
        )
        for first, last in ((0, -1), (1, 0))
    ),
    (
        COUNT,
        ["(variables keys keys)",
         ("(count v1 (<= (+ 0 (1 (v || v1)) (-1 (v || v0)))) (term () ((1)))"
         " ((true (+ 0) (+ 1/2 (1 (v || v0))))))")],
        "no whole number",
    ),
    # What holds of the position that a hypothesis gives need not hold where it counts.
    (
        AT_FIRST,
        ["(variables keys keys keys)",
         ("(count v1 (<= (+ 0 (1 (v || v1)) (-1 (v || v0)))) (term () ((1)))"
         " ((true (+ 0) (+ 0))))")],
        "a hypothesis is about it",
    ),
    # An index of the statement stands at any position, and so does what a sum binds.
    (FIRST, ["(variables keys keys keys)", "(end v0 first)"], "at any position"),
    (FIRST, ["(variables keys keys keys)", "(end v1 first)"], "at any position"),
    (FIRST, ["(variables keys keys keys keys)", "(end v3 middle)"], "first or the last"),
    # exp(log Z) is Z only where Z is positive; log(q Z) is no sum for a q that may be negative.
    (
        EXP_LOG,
        ["(variables keys keys)", "(class 0 (v1) ((term () ((1)) (x x 1 v1))))",
         "(value log (term () ((1))) (term () ((1)) (fn log 0 1 v0)))",
         "(value exp (term () ((1))) (log (term () ((1)) (fn log 0 1 v0))))"],
        "not seen to be positive",
    ),
    (
        EXP_LOG,
        ["(variables keys keys)", "(class 0 (v1) ((term () ((1)) (x x 1 v1))))",
         "(value log (term () ((1)) (x x 1 v0)) (term () ((1))))"],
        "positive factors and a function",
    ),
    (
        ABSOLUTE,
        ["(variables keys)", "(value absolute (term () ((1)) (x x 1 v0)) (term () ((1))))"],
        "positive factors and a function",
    ),
    # What may be 0 is nothing to multiply by.
    (
        ZERO_IS_ONE,
        ["(variables keys keys)", "(class 0 (v1) ((term () ((1)) (x x 1 v1))))",
         "(times (inv || 0 1 v0))"],
        "where class 0 is not 0 is not stated",
    ),
    # A function is another one where a mask holds, not where it does not.
    (
        MASKED,
        ["(variables keys keys)",
         "(class 0 (v1) ((term () ((1 (known |input p| v1))) (x x 1 v1))))",
         "(class 1 (v1) ((term () ((1)) (x x 1 v1))))",
         "(value tanh (term () ((1)) (fn tanh 0 1 v0)))",
         "(value tanh (term () ((1)) (fn tanh 1 1 v0)))",
         ("(narrow (term () ((1)) (fn tanh 0 1 v0)) ((fn tanh 0 1 v0)"
          " ((term () ((1)) (fn tanh 1 1 v0))) ()))")],
        "not seen to be the function's",
    ),
    # A bound is no identity, holds of what is weighed by what is not negative, and has its sign.
    (
        claim("a bump is one", exp(-(x[j] ** 2)), 1),
        ["(variables keys keys)", "(class 0 (v1) ((term () ((1)) (x x 2 v1))))",
         "(value exp (term () ((1)) (exp || 0 -1 v0)))",
         "(decay (term () ((-1)) (exp || 0 -1 v0)) ((exp || 0 -1 v0)))"],
        "not seen by a bound",
    ),
    *(
        (
            claim("a bump", left, right, kind="bound"),
            ["(variables keys keys)", "(class 0 (v1) ((term () ((1)) (x x 2 v1))))",
             f"(value exp (term () ((1)) (exp || 0 {power} v0)))",
             f"(decay (term () (({sign})){weight} {bump_to(power)}) ({bump_to(power)}))"],
            reason,
        )
        for left, right, power, sign, weight, reason in (
            (1, exp(-(x[j] ** 2)), -1, 1, "", "may be positive"),
            (exp(x[j] ** 2), 1, 1, -1, "", "may be positive"),
            (y[j] * exp(-(x[j] ** 2)), y[j], -1, -1, " (x y 1 v0)", "may be positive"),
        )
    ),
    # A map of keys has its images among the keys; of a query's position nothing is known.
    (
        MOVED,
        ["(variables keys queries)",
         ("(count v1 (and (= (+ 0 (1 (v || v1)) (-1 (v || v0)))) (<= (+ 0 (-1 (v pi v1)))))"
          " (term () ((1 (<= (+ 0 (1 (n queries)) (-1 (v pi v0)))))) (x |x@pi| 2 v0))"
          " (((<= (+ 1 (1 (v || v0)) (-1 (n queries)))) (+ 0 (1 (v || v0)))"
          " (+ 0 (1 (v || v0))))))")],
        "pi is no map of queries",
    ),
    # Two maps of one name would be one-to-one with each other.
    (replace(MOVED, relabels=TWO_MAPS), ["(variables keys)"], "two maps have one name"),
    (NEGATIVE, ["(variables keys)"], "left over"),
    (NEGATIVE, ["(variables keys)", "(part 0)"], "only a bound"),
]  # fmt: skip


@pytest.mark.parametrize(("statement", "lines", "reason"), FORGED)
def test_what_is_made_up_is_rejected(statement: Statement, lines: list[str], reason: str) -> None:
    with pytest.raises(Rejected, match=reason):
        check(statement, lines, asking=not any(line.startswith(QUESTION) for line in lines))


def test_a_proof_for_a_bijection_is_none_for_any_map() -> None:
    place = next(n for n, one in enumerate(TRUE) if any(r.bijection for r in one.relabels))
    statement = TRUE[place]
    lines = certificate(place)
    relabels = tuple(replace(relabel, bijection=False) for relabel in statement.relabels)
    assert follows(statement, lines)
    assert not follows(replace(statement, relabels=relabels), lines)


def test_a_proof_that_rests_on_a_hypothesis_is_none_without_it(context: z3.Context) -> None:
    rests = 0
    for place, statement in enumerate(TRUE):
        if statement.hypotheses:
            bare = replace(statement, hypotheses=())
            rests += not follows(bare, certificate(place), context=context)
    assert rests > 5


def test_a_name_is_no_free_array_where_its_inputs_are_moved() -> None:
    spec = load("global")
    O = spec.equation("O").head
    row = next(index for index in O.indices if index.axis.name == "queries")
    moved = Statement("moved", "equal", spec, as_expr(O), as_expr(O), (),
                      (Relabel("queries", ("Q",), (row.name,)),))  # fmt: skip
    axes = " ".join(index.axis.name for index in O.indices)
    with pytest.raises(Rejected, match="other values on the right"):
        check(moved, [f"(variables {axes})", "(opaque O)"])


def test_a_state_of_a_recurrence_is_not_defined_by_its_step() -> None:
    spec = load("elman")
    state = next(e for e in spec.heads.values() if e.tensor.name in spec.outputs)
    claimed = Statement("nothing", "zero", spec, as_expr(state))
    axes = " ".join(index.axis.name for index in state.indices)
    with pytest.raises(Rejected):
        check(claimed, [f"(variables {axes})"])


def test_what_z3_does_not_know_is_no_step(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [n for n in range(len(TRUE)) if any(q.startswith(QUESTION) for q in certificate(n))]
    assert len(asked) > 20
    monkeypatch.setattr(asking, "STEPS", 1)
    lost = [n for n in asked if not follows(TRUE[n], certificate(n))]
    assert len(lost) > len(asked) / 2


def test_a_line_that_nothing_needs_is_rejected() -> None:
    place = next(n for n, one in enumerate(TRUE) if one.name == "rows sum to one")
    lines = certificate(place)
    for more in ("(set-logic ALL) (assert false) (check-sat)", "(class 9 () ((term () ((1)))))"):
        with pytest.raises(Rejected, match="no step needs"):
            check(TRUE[place], (*lines, more))


def test_questions_are_smt_lib_that_any_solver_reads() -> None:
    texts = {q for n in range(len(TRUE)) for q in certificate(n) if q.startswith(QUESTION)}
    for text in texts:
        solver = z3.Solver()
        solver.from_string(text)
        assert solver.check() == z3.unsat
        assert text.count("(") == text.count(")")


PROGRAM = """
import json
from tests.test_certify import TRUE, certificate
print(json.dumps([certificate(place) for place in range(0, len(TRUE), 6)]))
"""


@pytest.mark.slow
def test_certificates_do_not_change_with_the_hash_seed() -> None:
    answers = []
    for seed in ("0", "1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True,
            env=os.environ | {"PYTHONHASHSEED": seed},
        )  # fmt: skip
        answers.append(json.loads(done.stdout))
    assert answers[0] == answers[1] == answers[2]


# ---- certificates in verdicts and reports


def test_a_verdict_says_what_is_not_checked() -> None:
    rows = claim("rows", total(exp(s[i, j]), j) / total(exp(s[i, l]), l), 1)
    proof = prove(rows)
    good = told(rows, proof.certificate, proof.lines)
    assert good[0] == f"{HEAD}{rows.text()}"
    (part,) = parts(good)
    assert follows(rows, steps_of(part) or ())
    bad = told(rows, proof.certificate, proof.lines[:-1])
    assert bad[-1].startswith(UNCHECKED)
    assert steps_of(bad) is None


@cache
def causal() -> Report:
    return verify("sliding_window", align="bottom_right", counts="keys", examples=2)


def test_a_report_is_checked_again_from_its_json(tmp_path: Path) -> None:
    causal().to_json(tmp_path / "report.json")
    rows = list(recheck(Report.from_json(tmp_path / "report.json")))
    proved = [v for v in causal().verdicts if v.status is Status.PROVED]
    assert [row.verdict for row in rows] == [v.name for v in proved]
    assert not any(row.fault for row in rows)
    assert not any(row.apart for row in rows)
    assert sum(row.questions for row in rows)


def changed(change: str) -> Report:
    """A report in which something of one certificate is another."""
    (section,) = causal().sections
    verdicts = list(section.verdicts)
    at = next(n for n, v in enumerate(verdicts) if any(t.startswith("(law") for t in v.certificate))
    lines = list(verdicts[at].certificate)
    law = next(n for n, line in enumerate(lines) if line.startswith("(law"))
    if change == "a step is gone":
        del lines[law]
    elif change == "a number is another":
        lines[law] = lines[law].replace("((1", "((2").replace("((-1", "((3")
    elif change == "all is gone":
        lines = []
    verdicts[at] = replace(verdicts[at], certificate=tuple(lines))
    return Report((Section(section.spec, tuple(verdicts), figures=section.figures),))


@pytest.mark.parametrize("change", ["a step is gone", "a number is another", "all is gone"])
def test_a_report_that_was_changed_is_found_out(change: str) -> None:
    faults = [row for row in recheck(changed(change)) if row.fault]
    assert len(faults) == 1


def test_what_cannot_be_checked_again_is_told_apart() -> None:
    proved = Verdict("made up", Status.PROVED)
    (row,) = recheck(Report((Section("causal", (proved,)),)))
    assert "keeps no spec" in row.apart
    (section,) = causal().sections
    (row,) = recheck(Report((Section("causal", (proved,), figures=section.figures),)))
    assert "no invariant" in row.apart
