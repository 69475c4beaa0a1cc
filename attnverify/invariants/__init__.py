"""The table of statements that a spec can be asked, with what each needs of the spec and why.

Whether an invariant applies is data: a row names its requirements, a requirement is a test of the
spec's roles with the reason to give where it is not met.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from attnverify.equations import Recurrence
from attnverify.invariants import backward, forward, symmetry, weights
from attnverify.invariants.forms import linear_in
from attnverify.invariants.reach import only_through
from attnverify.invariants.roles import Roles, roles
from attnverify.spec import Spec
from attnverify.statement import Statement, inline


@dataclass(frozen=True)
class Requirement:
    """What an invariant needs, and the reason to give where a spec lacks it.

    What is `expected` is a condition of its truth, not of its words: a spec without it may still
    announce that the invariant fails, and is then asked.
    """

    met: Callable[[Roles], bool]
    reason: str
    expected: bool = False


@dataclass(frozen=True)
class Invariant:
    """A named claim: its requirements, and the statements that it makes about a spec."""

    name: str
    says: str
    needs: tuple[str, ...]
    statements: Callable[[Roles], list[Statement]]


def _linear_values(parts: Roles) -> bool:
    names = {e.tensor.name for e in parts.value_inputs}
    if parts.recurrent or len(names) != 1:
        return False
    return linear_in(inline(parts.spec, parts.output), names)


def _scored(parts: Roles) -> bool:
    """Whether every attention has scores that an equation outside recurrences assigns."""
    states = {
        step.name for s in parts.spec.equations if isinstance(s, Recurrence) for step in s.steps
    }
    found = [site.scores for site in parts.attentions]
    names = {score.head.tensor.name for scores in found for score in scores}
    return bool(found) and all(found) and not names & states


def _through_weights(parts: Roles) -> bool:
    """Whether scores reach every output through their weights alone: a log-sum-exp does not."""
    return all(
        only_through(parts.spec, [s.head.tensor.name for s in site.scores], [site.weights.name])
        for site in parts.attentions
    )


REQUIREMENTS = {
    "weights": Requirement(
        lambda r: r.weights is not None,
        "no softmax weights, and no equation A that is summed against values",
    ),
    "mask": Requirement(
        lambda r: any(site.masked for site in r.attentions), "no mask: every query sees every key"
    ),
    "no recurrence": Requirement(
        lambda r: not r.recurrent, "a recurrence has no closed definition"
    ),
    "key side": Requirement(
        forward.masks_a_side, "no key or value input whose places a mask hides from the output"
    ),
    "keys and values alone": Requirement(
        forward.hides,
        "keys reach the output by other ways than through masked scores and values",
        expected=True,
    ),
    "positions": Requirement(
        forward.positioned, "a query may see keys after its own index, and time is not an axis"
    ),
    "order": Requirement(
        forward.ordered,
        "a query may see keys after its own index, or the form does not say",
        expected=True,
    ),
    "scores": Requirement(_scored, "no scores S from which all weights follow"),
    "scores through weights": Requirement(
        _through_weights, "scores reach an output by other ways than the weights"
    ),
    "row sums": Requirement(
        lambda r: "L" in r.spec.heads and len(r.scores) == 1 and not r.recurrent,
        "no equation L of log-sum-exp over one array of scores",
    ),
    "sums of keys": Requirement(
        weights.log_of_keys,
        "L is not the natural logarithm of a sum over the keys alone",
        expected=True,
    ),
    "sink": Requirement(
        lambda r: any(weights.whole_row(r, site) is not None for site in r.attentions),
        "nothing beside the keys has a share in the normaliser",
    ),
    "keys": Requirement(lambda r: bool(r.key_inputs), "no input is read at the key's place alone"),
    "affine keys": Requirement(
        lambda r: all(map(r.affine_score, r.key_inputs)),
        "scores are not affine in the keys with coefficients common to all keys",
        expected=True,
    ),
    "keys through scores": Requirement(
        lambda r: r.through_scores(r.key_inputs),
        "key inputs reach the output by other ways than the scores",
        expected=True,
    ),
    "direct values": Requirement(
        lambda r: r.direct_values is not None, "the output is not the sum of weights times an input"
    ),
    "linear values": Requirement(
        _linear_values, "the output is not linear in one value input by its form"
    ),
    "two sides": Requirement(
        lambda r: bool(r.key_inputs) and bool(r.query_inputs),
        "scores do not read queries and keys from inputs of their own",
    ),
    "balanced scores": Requirement(
        lambda r: r.balanced,
        "scores change when queries are scaled up and keys down by one factor",
        expected=True,
    ),
    "queries through scores": Requirement(
        lambda r: r.through_scores(r.key_inputs, r.query_inputs),
        "query or key inputs reach the output by other ways than the scores",
        expected=True,
    ),
    "sequence": Requirement(
        lambda r: bool(symmetry.moving(r)),
        "no input runs along positions, or they are part of a product axis",
    ),
    "batch": Requirement(
        lambda r: symmetry.separate(r, "batch"), "inputs and output share no simple batch axis"
    ),
    "heads": Requirement(
        lambda r: symmetry.separate(r, "heads"), "inputs and output share no simple axis of heads"
    ),
    "unmixed heads": Requirement(
        lambda r: not symmetry.mixed(r, "heads"),
        "heads are mixed: a sum runs over them",
        expected=True,
    ),
    "uncounted heads": Requirement(
        lambda r: not symmetry.counted(r, "heads"),
        "the number of a head enters its own formula",
        expected=True,
    ),
}

INVARIANTS = (
    Invariant("weights are not negative", "A >= 0", ("weights",), weights.nonnegative),
    Invariant("weights are at most one", "A <= 1", ("weights",), weights.at_most_one),
    Invariant(
        "rows sum to one",
        "sum_j A_ij = 1 where row i sees a key, else 0",
        ("weights",),
        weights.row_sums,
    ),
    Invariant(
        "rows and sink sum to one",
        "sum_j A_ij and the sink's share are 1",
        ("weights", "sink"),
        weights.sink_sums,
    ),
    Invariant(
        "masked weights are zero",
        "A_ij = 0 where the mask hides j",
        ("weights", "mask"),
        weights.hidden_weights,
    ),
    Invariant(
        "masked keys have no influence",
        "dO_i/d(k_j, v_j) = 0 where the mask hides j",
        ("weights", "mask", "no recurrence", "key side", "keys and values alone"),
        forward.hidden_influence,
    ),
    Invariant(
        "causality", "dO_i/d(k_j, v_j) = 0 for j > i", ("positions", "order"), forward.causality
    ),
    Invariant(
        "convex hull",
        "O_i lies between the least and the largest visible V_j",
        ("weights", "direct values"),
        forward.hull,
    ),
    Invariant(
        "linearity in the values",
        "O(V + a W) = O(V) + a O(W)",
        ("linear values",),
        forward.linearity,
    ),
    Invariant(
        "value shift", "V + 1c^T adds c to O", ("weights", "direct values"), forward.value_shift
    ),
    Invariant(
        "key shift", "K + 1c^T leaves A", ("weights", "keys", "affine keys"), weights.key_shift
    ),
    Invariant("score shift", "S + r_i leaves A", ("weights", "scores"), weights.score_shift),
    Invariant(
        "log-sum-exp shift",
        "S + r_i adds r_i to L_i",
        ("weights", "scores", "row sums", "sums of keys"),
        weights.log_sum_exp_shift,
    ),
    Invariant(
        "permutation equivariance",
        "permuting positions permutes the output along with them",
        ("sequence",),
        symmetry.permutation,
    ),
    Invariant(
        "batch independence",
        "O of one batch entry depends on the inputs of that entry alone",
        ("batch",),
        symmetry.batch_independence,
    ),
    Invariant(
        "head independence",
        "O of one head depends on the inputs of that head alone",
        ("heads", "unmixed heads", "uncounted heads"),
        symmetry.head_independence,
    ),
    Invariant(
        "score gradients sum to zero",
        "sum_j dS_ij = 0",
        ("weights", "scores", "scores through weights"),
        backward.score_gradients,
    ),
    Invariant(
        "key gradients sum to zero",
        "sum_j dK_j = 0",
        ("weights", "keys", "affine keys", "keys through scores", "scores through weights"),
        backward.key_gradients,
    ),
    Invariant(
        "value gradients sum to output cotangents",
        "sum_j dV_j = sum_i dO_i",
        ("weights", "direct values"),
        backward.value_gradients,
    ),
    Invariant(
        "<dQ, Q> = <dK, K>",
        "the scores' Euler identity",
        ("weights", "two sides", "balanced scores", "queries through scores"),
        backward.euler,
    ),
    Invariant(
        "row term",
        "sum_j A_ij dA_ij = sum_c dO_ic O_ic",
        ("weights", "direct values"),
        backward.row_term,
    ),
)


def applicable(spec: Spec) -> list[tuple[Invariant, str]]:
    """Every invariant with the reason why it does not apply to a spec, empty where it does."""
    parts = roles(spec)
    rows = []
    for invariant in INVARIANTS:
        needs = [REQUIREMENTS[need] for need in invariant.needs]
        asked = [need for need in needs if not (need.expected and invariant.name in spec.announces)]
        unmet = next((need.reason for need in asked if not need.met(parts)), "")
        rows.append((invariant, unmet))
    return rows


__all__ = ["INVARIANTS", "REQUIREMENTS", "Invariant", "Requirement", "applicable", "roles"]
