"""Whatever the composer says derives, compiles and verifies: combinations drawn in each run."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable
from typing import Any

import pytest

from attnverify.attention import (
    additive_bias,
    alibi_bias,
    attention,
    bucket_bias,
    causal,
    cosine_score,
    distance_score,
    dot_score,
    entmax_weights,
    every_step,
    everything,
    first_keys,
    given,
    grouped,
    key_lengths,
    multi_query,
    plus_one_weights,
    qk_norm,
    relu_weights,
    rope,
    same_block,
    same_document,
    scalable_weights,
    sigmoid_weights,
    single,
    sink_weights,
    softmax_weights,
    sparsemax_weights,
    standard,
    top_k,
    within,
)
from attnverify.errors import ParameterError, SpecError
from attnverify.notation import parameter
from attnverify.provers.routes import routes
from attnverify.spec import Spec
from attnverify.verdict import Status
from attnverify.verify import verify

window = parameter("window", integer=True, ge=1)
block = parameter("block", integer=True, ge=1)
count = parameter("count", integer=True, ge=1)
begin = parameter("begin", integer=True, ge=0)
cap = parameter("cap", gt=0)
tau = parameter("tau", gt=0)
p = parameter("p", ge=0, lt=1)
PARAMETERS = (window, block, count, begin, cap, tau, p)

# What each stage is drawn from, as text that builds it; the first is the plainest.
STAGES: dict[str, dict[str, Callable[[], Any]]] = {
    "heads": {
        "standard()": standard,
        "grouped()": grouped,
        "grouped('tile')": lambda: grouped("tile"),
        "multi_query()": multi_query,
        "single()": single,
    },
    "position": {
        "()": tuple,
        "rope()": rope,
        "rope('half', offset=begin)": lambda: rope("half", offset=begin),
        "rope(align='bottom_right')": lambda: rope(align="bottom_right"),
        "rope('half', tables=True)": lambda: rope("half", tables=True),
        "rope(offset='input', tables=True)": lambda: rope(offset="input", tables=True),
        "rope('half', positions='input')": lambda: rope("half", positions="input"),
        "rope(tables=True, positions='input')": lambda: rope(tables=True, positions="input"),
        "qk_norm('rms', gain=True)": lambda: qk_norm("rms", gain=True),
        "(qk_norm(), rope('half'))": lambda: (qk_norm(), rope("half")),
    },
    "score": {
        "dot_score()": dot_score,
        "cosine_score(tau)": lambda: cosine_score(tau),
        "distance_score()": distance_score,
    },
    "bias": {
        "()": tuple,
        "additive_bias(['batch'])": lambda: additive_bias(["batch"]),
        "alibi_bias()": alibi_bias,
        "alibi_bias(two_sided=True, slopes='input')": lambda: alibi_bias(
            two_sided=True, slopes="input"
        ),
        "(additive_bias(), bucket_bias())": lambda: (additive_bias(), bucket_bias()),
    },
    "scale_bias": {"False": lambda: False, "True": lambda: True},
    "cap": {"None": lambda: None, "cap": lambda: cap},
    "cap_before_bias": {"True": lambda: True, "False": lambda: False},
    "cap_before_mask": {"True": lambda: True, "False": lambda: False},
    "mask": {
        "everything()": everything,
        "causal()": causal,
        "causal('bottom_right') & key_lengths()": lambda: causal("bottom_right") & key_lengths(),
        "causal(offset='input')": lambda: causal(offset="input"),
        "causal() & within(left=window)": lambda: causal() & within(left=window),
        "within(window, window, 'bottom_right')": lambda: within(window, window, "bottom_right"),
        "causal().shifted(queries=1) & same_block(block)": lambda: (
            causal().shifted(queries=1) & same_block(block)
        ),
        "causal() & every_step(block)": lambda: causal() & every_step(block),
        "causal() | first_keys(count)": lambda: causal() | first_keys(count),
        "same_document() & key_lengths()": lambda: same_document() & key_lengths(),
        "given(['heads']) & ~causal()": lambda: given(["heads"]) & ~causal(),
        "top_k(count, among=causal())": lambda: top_k(count, among=causal()),
    },
    "normaliser": {
        "softmax_weights()": softmax_weights,
        "scalable_weights()": scalable_weights,
        "plus_one_weights()": plus_one_weights,
        "sink_weights()": sink_weights,
        "sigmoid_weights()": sigmoid_weights,
        "relu_weights()": relu_weights,
        "relu_weights(2)": lambda: relu_weights(2),
        "sparsemax_weights()": sparsemax_weights,
        "entmax_weights()": entmax_weights,
    },
    "dropout": {"None": lambda: None, "p": lambda: p},
    "empty_rows": {
        "'zeros'": lambda: "zeros",
        "'nan'": lambda: "nan",
        "'uniform'": lambda: "uniform",
    },
    "lse_base": {"'e'": lambda: "e", "2": lambda: 2},
    "cache": {"False": lambda: False, "True": lambda: True},
}
# These rarely are anything but the plainest, which is the first.
RARE = {
    "scale_bias",
    "cap_before_bias",
    "cap_before_mask",
    "dropout",
    "empty_rows",
    "lse_base",
    "cache",
}


def drawn(rng: random.Random) -> tuple[str, Spec]:
    """A sensible combination, and the call that composes it."""
    while True:
        words = {stage: drawn_word(rng, stage) for stage in STAGES}
        call = ", ".join(f"{stage}={word}" for stage, word in words.items())
        named = [q for q in PARAMETERS if re.search(rf"\b{q.name}\b", " ".join(words.values()))]
        try:
            chosen = {stage: STAGES[stage][word]() for stage, word in words.items()}
            return call, attention("drawn", **chosen, parameters=named)
        except ParameterError:
            continue
        except SpecError as error:
            pytest.fail(f"attention({call})\n{error}")


def drawn_word(rng: random.Random, stage: str) -> str:
    options = list(STAGES[stage])
    return options[0] if rng.random() < (0.8 if stage in RARE else 0.3) else rng.choice(options)


def seeded() -> int:
    """A new seed for every run, or the one to run again."""
    told = os.environ.get("ATTNVERIFY_SEED")
    return int(told) if told else random.SystemRandom().randrange(10**9)


@pytest.mark.parametrize("number", range(14))
def test_a_drawn_combination_derives_compiles_and_agrees(number: int) -> None:
    seed = seeded()
    call, spec = drawn(random.Random(seed))
    told = f"attention({call}), drawn {number}; to run it again: ATTNVERIFY_SEED={seed}"
    for verdict in routes(spec, examples=4, seed=seed):
        assert verdict.status is Status.HELD, f"{told}\n{verdict.name}: {verdict.detail}"


@pytest.mark.parametrize("seed", range(1000, 1003))
def test_a_combination_is_asked_its_invariants(seed: int) -> None:
    call, spec = drawn(random.Random(seed))
    for verdict in verify(spec, examples=6, seed=seed).verdicts:
        refuted = verdict.status is Status.REFUTED and not verdict.expected
        assert not refuted, f"attention({call})\n{verdict.name}: {verdict.detail}"


@pytest.mark.parametrize("stage", STAGES)
def test_every_choice_composes_with_the_plainest_of_the_others(stage: str) -> None:
    plain = {name: next(iter(options.values())) for name, options in STAGES.items()}
    needs: dict[str, dict[str, Callable[[], Any]]] = {
        "scale_bias": {"bias": additive_bias},
        "cap_before_bias": {"cap": lambda: cap},
        "cap_before_mask": {"cap": lambda: cap, "mask": causal},
        "empty_rows": {"mask": lambda: causal("bottom_right")},
    }
    for build in STAGES[stage].values():
        chosen = {**plain, **needs.get(stage, {}), stage: build}
        spec = attention("one", **{k: v() for k, v in chosen.items()}, parameters=PARAMETERS)
        assert spec.outputs == ("O",)
