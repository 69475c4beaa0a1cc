"""What cannot be traced is told in one sentence, with the line where it stands."""

from __future__ import annotations

import functools
import inspect
import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import attnverify as av
from attnverify.errors import AttnverifyError, TraceError

SLOPES = np.array([0.5, 0.25])
MATRIX = np.ones((2, 2))


def branches(_b: Any, _h: Any, q_idx: Any, kv_idx: Any) -> Any:
    if q_idx > 3:
        return q_idx >= kv_idx
    return kv_idx < 2


def joins(_b: Any, _h: Any, q_idx: Any, kv_idx: Any) -> Any:
    return q_idx >= kv_idx and q_idx > 2


def chains(_b: Any, _h: Any, q_idx: Any, kv_idx: Any) -> Any:
    return 0 <= kv_idx <= q_idx


def whole(_b: Any, _h: Any, q_idx: Any, kv_idx: Any) -> Any:
    start = int(q_idx) // 2
    return kv_idx >= start


def item(_b: Any, _h: Any, q_idx: Any, kv_idx: Any) -> Any:
    return q_idx.item() >= kv_idx


def loops(_b: Any, _h: Any, q_idx: Any, kv_idx: Any) -> Any:
    return functools.reduce(lambda x, y: x | y, [kv_idx == n for n in range(q_idx)])


def of_math(score: Any, _b: Any, _h: Any, q_idx: Any, kv_idx: Any) -> Any:
    return score * math.exp(kv_idx - q_idx)


def unknown(score: Any, _b: Any, _h: Any, _q: Any, _k: Any) -> Any:
    return np.arcsinh(score)


def reduces(score: Any, _b: Any, _h: Any, _q: Any, _k: Any) -> Any:
    return score - score.max(dim=-1)


def cumulates(score: Any, _b: Any, _h: Any, _q: Any, _k: Any) -> Any:
    return np.cumsum(score)


def draws(score: Any, _b: Any, _h: Any, _q: Any, _k: Any) -> Any:
    return score.bernoulli()


def draws_of_python(score: Any, _b: Any, _h: Any, _q: Any, _k: Any) -> Any:
    return score + random.random()


def writes(score: Any, _b: Any, h: Any, _q: Any, _k: Any) -> Any:
    SLOPES[h] = score
    return score


def writes_in_place(score: Any, _b: Any, _h: Any, _q: Any, _k: Any) -> Any:
    return score.add_(1)


def looks_up_a_float(score: Any, _b: Any, h: Any, _q: Any, _k: Any) -> Any:
    return score + SLOPES[h / 2]


def looks_up_a_slice(score: Any, _b: Any, h: Any, _q: Any, _k: Any) -> Any:
    return score + MATRIX[h, :]


def looks_up_a_list(score: Any, _b: Any, h: Any, _q: Any, _k: Any) -> Any:
    return score * [1, 2, 3][h]


def looks_up_a_dictionary(score: Any, _b: Any, h: Any, _q: Any, _k: Any) -> Any:
    return score * {0: 1.0}[h]


def whole_table(score: Any, _b: Any, _h: Any, _q: Any, _k: Any) -> Any:
    return score + MATRIX[0]


def divides_by_zero(score: Any, _b: Any, _h: Any, q_idx: Any, kv_idx: Any) -> Any:
    return score / (q_idx - kv_idx)


def remainder_of_a_score(score: Any, _b: Any, _h: Any, _q: Any, _k: Any) -> Any:
    return score % 2


def positive_infinity(score: Any, _b: Any, _h: Any, q_idx: Any, kv_idx: Any) -> Any:
    return np.where(q_idx == kv_idx, math.inf, score)


def caps_minus_infinity(score: Any, _b: Any, _h: Any, q_idx: Any, kv_idx: Any) -> Any:
    return np.tanh(np.where(q_idx >= kv_idx, score, -math.inf))


def root(score: Any, _b: Any, _h: Any, _q: Any, _k: Any) -> Any:
    return score**0.5


def raises(_b: Any, _h: Any, q_idx: Any, kv_idx: Any) -> Any:
    raise KeyError("window")


def catches(_b: Any, _h: Any, q_idx: Any, kv_idx: Any) -> Any:
    try:
        first = bool(q_idx == 0)
    except AttnverifyError:
        first = False
    return (kv_idx <= q_idx) | first


def misspells(_b: Any, _h: Any, q_idx: Any, kv_idx: Any) -> Any:
    return q_idx.greater_than(kv_idx)


# Each with the source of the line at fault, and what is said of it.
REFUSED: dict[Callable[..., Any], tuple[str, str]] = {
    branches: ("if q_idx > 3:", "truth value"),
    joins: ("return q_idx >= kv_idx and q_idx > 2", "truth value"),
    chains: ("return 0 <= kv_idx <= q_idx", "truth value"),
    whole: ("start = int(q_idx) // 2", "number behind"),
    item: ("return q_idx.item() >= kv_idx", "calls item"),
    loops: ("range(q_idx)", "whole number of Python's"),
    of_math: ("return score * math.exp(kv_idx - q_idx)", "number behind"),
    unknown: ("return np.arcsinh(score)", "calls arcsinh, which is not traced"),
    reduces: ("return score - score.max(dim=-1)", "calls max"),
    cumulates: ("return np.cumsum(score)", "reduces over an axis"),
    draws: ("return score.bernoulli()", "draws random numbers"),
    draws_of_python: ("def draws_of_python", "something else at each call"),
    writes: ("SLOPES[h] = score", "writes into a tensor"),
    writes_in_place: ("return score.add_(1)", "writes into a tensor"),
    looks_up_a_float: ("SLOPES[h / 2]", "not a whole number"),
    looks_up_a_slice: ("MATRIX[h, :]", "slice"),
    looks_up_a_list: ("[1, 2, 3][h]", "whole number of Python's"),
    looks_up_a_dictionary: ("{0: 1.0}[h]", "dictionary"),
    whole_table: ("return score + MATRIX[0]", "a whole table of shape (2,)"),
    divides_by_zero: ("return score / (q_idx - kv_idx)", "may be 0"),
    remainder_of_a_score: ("return score % 2", "positions and whole numbers"),
    positive_infinity: ("math.inf, score", "computes with inf"),
    caps_minus_infinity: ("return np.tanh", "minus infinity"),
    root: ("return score**0.5", "a root of what may be negative"),
    raises: ('raise KeyError("window")', "raises KeyError"),
    catches: ("def catches", "catches the error where it asks Python for the truth value"),
    misspells: ("q_idx.greater_than(kv_idx)", "calls greater_than, which is not traced"),
}


@pytest.mark.parametrize(("mod", "told"), REFUSED.items(), ids=[mod.__name__ for mod in REFUSED])
def test_what_cannot_be_traced_is_told_by_its_line(
    mod: Callable[..., Any], told: tuple[str, str]
) -> None:
    arguments = inspect.signature(mod).parameters
    mods: dict[str, Any] = {"score_mod" if "score" in arguments else "mask_mod": mod}
    with pytest.raises(AttnverifyError) as caught:
        av.from_flex(**mods)
    source, why = told
    lines, first = inspect.getsourcelines(mod)
    number = first + next(n for n, line in enumerate(lines) if source in line)
    message = caught.value.message
    assert isinstance(caught.value, TraceError)
    assert message.startswith(f"line {number} of test_flex_refused.py, in {mod.__name__}: `")
    assert source in message
    assert why in message
    assert "\n" not in message


def test_what_is_returned_is_judged() -> None:
    for mods in (
        {"mask_mod": lambda _b, _h, q, _k: q},
        {"mask_mod": lambda _b, _h, _q, _k: True},
        {"score_mod": lambda _s, _b, _h, q, kv: q >= kv},
        {"score_mod": lambda _s, _b, _h, _q, _k: None},
    ):
        with pytest.raises(TraceError, match=r"line \d+ of .* returns"):
            av.from_flex(**mods)


def test_a_function_of_other_arguments_is_refused() -> None:
    with pytest.raises(TraceError, match="does not take"):
        av.from_flex(score_mod=lambda _b, _h, q, kv: q >= kv)
