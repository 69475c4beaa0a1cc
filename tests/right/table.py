"""Which forms are judged against which spec, and one trial of them on cases drawn once for all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

import numpy as np

import attnverify as av
from attnverify.check.habits import habits
from attnverify.check.judge import Judge
from attnverify.check.tally import Tally
from attnverify.inputs import Case, Draw
from attnverify.rounding import Expected
from attnverify.subjects import subject as wrapped
from attnverify.verdict import Verdict
from tests.right import backward as b
from tests.right import forward as f
from tests.right.arithmetic import Array, Form, subject

CASES = 24


@dataclass(frozen=True)
class Right:
    """A forward pass with a backward pass, both right."""

    forward: Form
    backward: Form

    @property
    def name(self) -> str:
        """The names of both."""
        return f"{_name(self.forward)} / {_name(self.backward)}"


def _name(form: Any) -> str:
    return str(form.args[0].__name__ if isinstance(form, partial) else form.__name__)


# Forms that take a mask: against specs without one, with a causal one, with one that is given.
ANY = (
    Right(f.textbook, b.textbook),
    Right(f.scale_in_query, b.scale_in_query),
    Right(f.scale_in_both, b.by_jacobian),
    Right(f.base_two, b.by_output),
    Right(f.divided_last, b.through_quotient),
    Right(f.by_log_sum, b.by_output),
    Right(f.log_weights, b.over_query_tiles),
    Right(f.masked_after, b.in_tiles),
    Right(f.added_infinity, b.textbook),
    Right(f.finite_sentinel, b.by_jacobian),
    Right(f.keys_in_reverse, b.over_query_tiles),
    Right(f.two_passes, b.in_tiles),
    Right(f.online, b.in_tiles),
    Right(f.online_in_tiles, b.by_output),
    Right(f.normalised_in_tiles, b.through_quotient),
    Right(f.split_and_merged, b.by_output),
    Right(f.pairwise, b.in_tiles),
    Right(f.row_by_row, b.over_query_tiles),
)


def _under(form: Form, ahead: int) -> Form:
    return partial(_masked, form, ahead)


def _masked(form: Form, ahead: int, r: Any, *arrays: Array, mask: Array | None = None) -> Any:
    """A form under the mask that is given, or under the causal one of the arrays' lengths."""
    if mask is None:
        lengths = (arrays[ahead].shape[-2], arrays[ahead + 1].shape[-2])
        mask = np.tri(*lengths, dtype=bool)
    return form(r, *arrays, keep=mask)


MASKED = tuple(Right(_under(pair.forward, 0), _under(pair.backward, 1)) for pair in ANY)
SPECS: dict[str, tuple[Right, ...]] = {
    "global": ANY,
    "causal": MASKED,
    "masked": MASKED,
    "sinks": (Right(f.with_sink, b.with_sink), Right(f.sink_by_sigmoid, b.sink_by_sigmoid)),
    "grouped_query": (
        Right(f.grouped_by_repeat, b.grouped_by_repeat),
        Right(f.grouped_by_reshape, b.grouped_by_reshape),
    ),
    "biased": (Right(f.biased, b.biased), Right(f.bias_shifted, b.bias_shifted)),
    "softcap": (Right(f.capped, b.capped),),
    "sliding_window": (Right(f.windowed_by_band, b.windowed_by_band),),
}


class Sharing(Judge):
    """A judge that looks bounds up where another one has derived them for the same case.

    They follow from the spec, the type and the case, and from no subject.
    """

    known: dict[tuple[int, bool], tuple[Case, Expected]]

    def _expected(self, case: Case, *, backward: bool) -> Expected:
        key = (id(case), backward)
        if key not in self.known:
            self.known[key] = (case, super()._expected(case, backward=backward))
        return self.known[key][1]


def trial(
    spec_name: str, dtype: str, seed: int, count: int | None = None
) -> Iterator[tuple[str, Verdict]]:
    """Every verdict on every form against one spec; all of the schedule and corners by default."""
    spec = av.load(spec_name)
    draw = Draw(spec, dtype=dtype)
    cases = (
        list(chain(draw.schedule(seed, CASES), draw.corners(seed)))
        if count is None
        else list(draw.schedule(seed, count))
    )
    known: dict[tuple[int, bool], tuple[Case, Expected]] = {}
    whole = None
    for pair in SPECS[spec_name]:
        for stored in (True, False) if dtype in ("float16", "bfloat16") else (False,):
            fn, vjp = (subject(form, stored=stored) for form in (pair.forward, pair.backward))
            judge = Sharing(spec, wrapped(fn, spec, dtype=dtype, vjp=vjp), dtype)
            judge.known, judge._whole = known, whole
            name = f"{pair.name}{', stages stored' if stored else ''}"
            yield from ((name, verdict) for verdict in _verdicts(judge, draw, cases))
            whole = judge._whole


def _verdicts(judge: Judge, draw: Draw, cases: list[Case]) -> list[Verdict]:
    """What `check` says: each comparison over all cases, and habits on the broadest one."""
    tally = Tally(judge)
    judge.look(cases[0])
    for case in cases:
        tally.add(case, judge.ask(case))
    found = tally.verdicts({}, 0.0)
    if tally.broadest is not None and not tally.failing:
        found += habits(judge, draw, tally.broadest)
    return found
