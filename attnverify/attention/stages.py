"""The choices of the pipeline: which contradict each other, and what they break."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from attnverify.algebra.predicates import TRUE
from attnverify.algebra.terms import Axis, Place
from attnverify.attention.cache import cached_keys
from attnverify.attention.heads import Heads
from attnverify.attention.masks import Mask
from attnverify.attention.normalisers import Normaliser
from attnverify.attention.positions import Position
from attnverify.attention.scores import Bias, Score
from attnverify.attention.site import Site
from attnverify.errors import ParameterError

EMPTY_ROWS = ("zeros", "nan", "uniform")


@dataclass(frozen=True)
class Stages:
    """A choice at each stage.

    `turns` change Q and K, one after the other. `scale` multiplies the scores, 1/sqrt of the number
    of key channels unless given; `scale_bias` scales the biases with them. `cap` holds the scores
    within it by tanh, before or after biases are added, before or after the mask (after the mask, a
    hidden key has the score -cap). `dropout` is the probability to drop a weight, which the boolean
    input `drop` (True = keep) decides. A row without keys gives `empty_rows`: "zeros", "nan", or
    "uniform", the mean of all values. `lse_base` is the base of L.

    With `one_sequence` queries and keys are one axis, time. With `cache` the keys are past ones, in
    the inputs K_past and V_past (..., past, ...), and then new ones, K and V (..., new, ...); a
    query that follows the past stands at i + n_past: `causal(offset=past.size)`. K_all and V_all,
    the cache of the next step, can be asked for as outputs.
    """

    heads: Heads
    turns: tuple[Position, ...]
    score: Score
    scale: object
    biases: tuple[Bias, ...]
    scale_bias: bool
    cap: object
    cap_before_bias: bool
    cap_before_mask: bool
    mask: Mask
    normaliser: Normaliser
    dropout: object
    empty_rows: str
    lse_base: object
    one_sequence: bool
    cache: bool

    def check(self, name: str) -> None:
        """Refuse choices that contradict each other; ParameterError names the spec."""
        for rule in RULES:
            if rule.broken(self):
                raise ParameterError(rule.words, spec=name, found=rule.found(self), due=rule.due)

    def site(self) -> Site:
        """The indices that the stages work at."""
        i, j = Axis("queries")["i"], cached_keys() if self.cache else Axis("keys")["j"]
        if self.one_sequence:
            i, j = Axis("time")["i"], Axis("time")["j"]
        k = next(iter(self.splits), Axis("key_dim")["k"])
        heads = self.heads
        return Site(Axis("batch")["b"], heads.query, heads.key, i, j, k, Axis("value_dim")["c"])

    @property
    def splits(self) -> tuple[Place, ...]:
        """How the stages split the key channels."""
        return tuple(turn.channels for turn in self.turns if turn.channels is not None)

    @property
    def masks(self) -> bool:
        """Whether some key may be hidden."""
        return self.mask.keep(self.site()) != TRUE

    def reasons(self) -> dict[str, str]:
        """The invariants that fail as a property of the choices, each with its reason."""
        return {**self._of_weights(), **self._of_order()}

    def _of_weights(self) -> dict[str, str]:
        normaliser, found = self.normaliser, dict[str, str]()
        dropped = "dropped weights are not made up for" if self.dropout is not None else ""
        rows, shifts = normaliser.rows or dropped, normaliser.shifts
        direct, affine = self.empty_rows == "zeros", self.score.affine and self.cap is None
        told = [
            ("rows sum to one", rows, True),
            ("convex hull", rows, direct),
            ("value shift", rows, direct),
            ("value gradients sum to output cotangents", rows, direct),
            ("score shift", shifts, True),
            ("score gradients sum to zero", shifts, True),
            ("log-sum-exp shift", shifts, normaliser.mass is not None),
            ("key shift", shifts, affine and not self.turns),
            ("key gradients sum to zero", shifts, affine and not self.turns),
            ("weights are at most one", normaliser.one if affine else "", True),
            ("weights are at most one", dropped, True),
        ]
        found.update({name: reason for name, reason, asked in told if reason and asked})
        return found

    def _of_order(self) -> dict[str, str]:
        reasons = [
            ("queries and keys carry their positions", any(t.ordered for t in self.turns)),
            ("the bias depends on positions", any(bias.ordered for bias in self.biases)),
            ("the mask orders the keys", self.mask.ordered),
        ]
        found = [reason for reason, holds in reasons if holds]
        return {"permutation equivariance": "; ".join(found)} if found else {}


@dataclass(frozen=True)
class Rule:
    """What must not be chosen: when, why, what was found, and what is due."""

    broken: Callable[[Stages], bool]
    words: str
    found: Callable[[Stages], str]
    due: str


def _empty(stages: Stages) -> str:
    return f"empty_rows={stages.empty_rows!r}"


RULES = (
    Rule(
        lambda s: s.empty_rows not in EMPTY_ROWS,
        "an unknown convention for rows without keys",
        _empty,
        " or ".join(map(repr, EMPTY_ROWS)),
    ),
    Rule(
        lambda s: s.scale is not None and not s.score.scaled,
        "this score has a scale of its own",
        lambda s: f"scale={s.scale}",
        "no scale",
    ),
    Rule(
        lambda s: s.scale_bias and not s.biases,
        "there is no bias to scale",
        lambda _: "scale_bias=True",
        "a bias",
    ),
    Rule(
        lambda s: s.cap is None and not (s.cap_before_bias and s.cap_before_mask),
        "there is no cap to put elsewhere",
        lambda _: "cap_before_bias or cap_before_mask is False",
        "cap=...",
    ),
    Rule(
        lambda s: not s.cap_before_mask and not s.masks,
        "there is no mask to cap after",
        lambda _: "cap_before_mask=False",
        "mask=...",
    ),
    Rule(
        lambda s: not s.cap_before_mask and s.empty_rows != "zeros",
        "capped after the mask, hidden keys have finite scores and no row is without keys",
        _empty,
        "'zeros'",
    ),
    Rule(
        lambda s: s.empty_rows != "zeros" and not s.masks,
        "without a mask no row is without keys",
        _empty,
        "mask=...",
    ),
    Rule(
        lambda s: s.empty_rows != "zeros" and not s.normaliser.divides,
        "these weights are not divided by a sum, so that a row without keys is 0",
        _empty,
        "'zeros'",
    ),
    Rule(
        lambda s: s.mask.ranked and s.normaliser.sharper is not None,
        "these scores are scaled by how many keys a row sees, and the mask ranks the scores",
        lambda _: "a mask by ranks",
        "a mask by positions, or softmax_weights() with scale=...",
    ),
    Rule(
        lambda s: s.lse_base != "e" and s.normaliser.mass is None,
        "these weights have no log-sum-exp",
        lambda s: f"lse_base={s.lse_base!r}",
        "'e'",
    ),
    Rule(
        lambda s: len(set(s.splits)) > 1,
        "two stages split the key channels in different ways",
        lambda s: f"{len(s.splits)} of them",
        "one",
    ),
    Rule(
        lambda s: s.cache and s.one_sequence,
        "queries and cached keys are no one sequence",
        lambda _: "cache=True",
        "False",
    ),
)
