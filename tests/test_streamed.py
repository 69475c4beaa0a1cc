"""The oracle in blocks of rows against the oracle as a whole, for every spec that can be cut."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnverify import catalog, compile, gradient, load  # noqa: A004  the fixed public name
from attnverify.compare import within
from attnverify.compile import Oracle
from attnverify.compile.run import run
from attnverify.compile.streamed import Stream, plan
from attnverify.errors import SpecError
from attnverify.inputs import Case, Draw
from attnverify.provers.disturbed import UNIT, disturb
from attnverify.spec import Spec
from attnverify.verdict import Status

# Ragged on purpose: no block or chunk divides these.
SIZES = {
    "batch": 2, "heads": 2, "group": 2, "repeat": 2, "queries": 37, "keys": 41, "key_dim": 3,
    "value_dim": 2,
}  # fmt: skip
SMALL = {"tile": 1, "chunk": 4, "fewest": 7}


def _cut(spec: Spec) -> bool:
    try:
        plan(spec)
    except SpecError:
        return False
    return True


STREAMED = [name for name in catalog() if _cut(load(name))]
BACKWARD = [name for name in STREAMED if _cut(gradient(load(name)))]


def inputs(oracle: Oracle, drawn: Case) -> dict[str, Any]:
    """The arrays of a spec or of its gradient, which has cotangents too."""
    names = [entry.tensor.name for entry in oracle.spec.inputs]
    extra = [name for name in names if name not in drawn.arrays]
    seeds = dict(zip(extra, list(drawn.cotangents.values())[: len(extra)], strict=True))
    return oracle.arrays({**drawn.arrays, **seeds})


def differences(spec: Spec, drawn: Case, blocks: dict[str, int]) -> list[str]:
    """What differs between blocks and the whole by more than ten times what rounding moves."""
    oracle = compile(spec)
    arrays, chosen = inputs(oracle, drawn), oracle._settings(drawn.parameters)
    found = oracle._streamed(arrays, drawn.sizes, chosen, **blocks)
    due = run(oracle.recipe, arrays, drawn.sizes, drawn.parameters, "longdouble")
    moves = [
        run(oracle.recipe, arrays, drawn.sizes, drawn.parameters, "longdouble", hook=hook)
        for hook in (disturb(UNIT, number) for number in range(4))
    ]
    verdicts = [
        within(name, found[name], exact, _bound([move[name] for move in moves], exact))
        for name, exact in due.items()
    ]
    return [f"{v.name}: {v.detail}" for v in verdicts if v.status is not Status.HELD]


def _bound(moves: list[Any], exact: Any) -> Any:
    """Ten times how far rounding moves an entry and all entries on average; 0 where undefined."""
    spread = np.nan_to_num(np.max([np.abs(move - exact) for move in moves], axis=0).astype(float))
    return 10 * (spread + spread.mean())


@pytest.mark.parametrize("name", STREAMED)
def test_blocks_of_rows_give_what_the_whole_gives(name: str) -> None:
    spec = load(name)
    assert differences(spec, Draw(spec, empty=True).case(SIZES, seed=3), SMALL) == []


@pytest.mark.parametrize("name", BACKWARD)
def test_blocks_of_rows_add_up_to_the_gradients(name: str) -> None:
    spec = load(name)
    drawn = Draw(spec, empty=True).case(SIZES, seed=4)
    assert differences(gradient(spec), drawn, SMALL) == []


MASKED = ["causal", "sliding_window", "prefix", "padding", "local", "grouped_query", "masked"]


@given(
    st.sampled_from(MASKED), st.integers(1, 60), st.integers(1, 60), st.integers(0, 2**20),
    st.tuples(st.integers(1, 20), st.integers(1, 20)),
)  # fmt: skip
def test_blocks_of_any_size_give_the_gradients(
    name: str, queries: int, keys: int, seed: int, block: tuple[int, int]
) -> None:
    spec = load(name)
    sizes = {"heads": 2, "queries": queries, "keys": keys, "key_dim": 2, "repeat": 2}
    drawn = Draw(spec, empty=True).case(sizes, seed=seed)
    blocks = {"tile": 1, "fewest": block[0], "chunk": block[1]}
    assert differences(gradient(spec), drawn, blocks) == []


def _spans(name: str, **settings: int) -> list[tuple[int, int]]:
    """The keys that each of four blocks of rows is given, of 64 keys in chunks of 8."""
    oracle = compile(load(name))
    drawn = Draw(oracle.spec).case({"queries": 64, "keys": 64}, seed=1, parameters=settings)
    made = plan(oracle.spec)
    sizes = {**drawn.sizes}
    whole = {**settings, "whole_queries": 64, "whole_keys": 64}
    stream = Stream(made, lambda *_: {}, drawn.arrays, sizes, whole, np.dtype(float), chunk=8)
    stream._intervals()
    return [stream.keys(start, start + 16) for start in range(0, 64, 16)]


@pytest.mark.parametrize(
    ("name", "settings", "due"),
    [
        ("global", {}, [(0, 64)] * 4),
        ("causal", {}, [(0, 16), (0, 32), (0, 48), (0, 64)]),
        ("sliding_window", {"window": 9}, [(0, 16), (8, 32), (24, 48), (40, 64)]),
        ("sliding_window", {"window": 10}, [(0, 16), (0, 32), (16, 48), (32, 64)]),
    ],
)
def test_keys_that_a_mask_hides_from_a_block_are_left_out(
    name: str, settings: dict[str, int], due: list[tuple[int, int]]
) -> None:
    assert _spans(name, **settings) == due


def test_a_chunk_left_out_that_is_seen_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Stream.keys
    spec = load("causal")
    drawn = Draw(spec).case(SIZES, seed=5)

    def short(stream: Stream, start: int, stop: int) -> tuple[int, int]:
        first, last = right(stream, start, stop)
        return first, max(first + 1, last - 4)

    monkeypatch.setattr(Stream, "keys", short)
    assert len(differences(gradient(spec), drawn, SMALL)) == 3


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("online_softmax", "a recurrence goes through all positions"),
        ("blocked", "floor(j@keys/block) is not a sum of multiples of positions"),
        ("documents", "no queries"),
    ],
)
def test_a_spec_that_cannot_be_cut_says_why(name: str, why: str) -> None:
    assert why in compile(load(name)).undivided


def test_blocks_are_chosen_where_scores_pass_the_budget() -> None:
    oracle = compile(load("causal"), budget=8 * 30 * 30)
    sizes = {"batch": 1, "heads": 1, "queries": 30, "key_dim": 2, "keys": 30, "value_dim": 2}
    assert not oracle.streams(sizes)
    assert oracle.streams({**sizes, "keys": 31})
    assert not compile(load("documents"), budget=1).streams({**sizes, "time": 9})


def test_equal_calls_give_equal_bits() -> None:
    oracle = compile(gradient(load("causal")), budget=0)
    rng = np.random.default_rng(0)
    arrays = {e.tensor.name: rng.standard_normal((1, 1, 700, 4)) for e in oracle.spec.inputs}
    first, *others = (oracle(**arrays) for _ in range(4))
    assert all(np.array_equal(first[n], other[n]) for other in others for n in first)
