"""The pipeline of choices composes the specs that its words say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pytest

from attnverify.algebra.predicates import TRUE, Predicate, conjunction
from attnverify.algebra.terms import Index, Softmax, Tensor
from attnverify.attention import (
    Mask,
    additive_bias,
    alibi_bias,
    attention,
    block_ends,
    causal,
    cosine_score,
    every_step,
    everything,
    first_keys,
    first_queries,
    given,
    grouped,
    key_lengths,
    multi_query,
    qk_norm,
    query_lengths,
    relu_weights,
    rope,
    same_block,
    same_document,
    scalable_weights,
    sigmoid_weights,
    single,
    standard,
    top_k,
    within,
)
from attnverify.errors import AttnverifyError, ParameterError, SpecError
from attnverify.exact import Valuation, evaluate
from attnverify.library import load
from attnverify.notation import axes, parameter
from attnverify.spec import Spec
from tests.drawn import arrays, check_arrays_close

left = parameter("left", integer=True, ge=0)


def seen_keys(shown: Mask, queries: int, keys: int, **tables: Any) -> list[list[int]]:
    """For each query, the keys that a mask lets it see."""
    spec = attention("trial", mask=shown, parameters=[left])
    body = spec.equation("A").body
    assert isinstance(body, Softmax)
    b, h, i, j = spec.heads["A"].indices
    tables = {"S": np.zeros((1, 1, queries, keys)), **tables}
    valuation = Valuation(
        {"batch": 1, "heads": 1, "queries": queries, "keys": keys, "documents": 2},
        tables,
        {"left": 1},
    )

    def sees(query: int, key: int) -> bool:
        return valuation.holds(body.where, {b: 0, h: 0, i: query, j: key})

    return [[key for key in range(keys) if sees(query, key)] for query in range(queries)]


MASKS: dict[str, tuple[Mask, int, int, list[list[int]]]] = {
    "everything": (everything(), 2, 3, [[0, 1, 2], [0, 1, 2]]),
    "causal": (causal(), 3, 3, [[0], [0, 1], [0, 1, 2]]),
    "causal, more keys": (causal(), 2, 4, [[0], [0, 1]]),
    "causal, from the last": (causal("bottom_right"), 2, 4, [[0, 1, 2], [0, 1, 2, 3]]),
    "causal, more queries": (causal("bottom_right"), 4, 2, [[], [], [0], [0, 1]]),
    "strictly causal": (causal(offset=-1), 3, 3, [[], [0], [0, 1]]),
    "to the left": (within(left=1), 3, 3, [[0, 1, 2], [0, 1, 2], [1, 2]]),
    "to the right": (within(right=0), 3, 3, [[0], [0, 1], [0, 1, 2]]),
    "both sides": (within(left=1, right=0), 3, 3, [[0], [0, 1], [1, 2]]),
    "from the last": (within(0, 0, "bottom_right"), 2, 3, [[1], [2]]),
    "by a parameter": (within(left=left, right=0), 3, 3, [[0], [0, 1], [1, 2]]),
    "open on both sides": (within(), 2, 2, [[0, 1], [0, 1]]),
    "both": (causal() & within(left=0), 3, 3, [[0], [1], [2]]),
    "either": (within(0, 0) | causal(offset=-2), 3, 3, [[0], [1], [0, 2]]),
    "not": (~causal(), 3, 3, [[1, 2], [2], []]),
    "every second key": (every_step(2), 3, 4, [[0, 2], [1, 3], [0, 2]]),
    "every second key, backwards": (causal() & every_step(2), 3, 3, [[0], [1], [0, 2]]),
    "by a step that is a parameter": (every_step(left + 1), 2, 3, [[0, 2], [1]]),
    "its own block": (same_block(2), 3, 5, [[0, 1], [0, 1], [2, 3]]),
    "the ends of blocks": (block_ends(3, 1), 1, 6, [[2, 5]]),
    "the first keys": (first_keys(2), 2, 3, [[0, 1], [0, 1]]),
    "the first queries": (first_queries(1), 2, 2, [[0, 1], []]),
    "a prefix": (causal() | first_keys(2), 3, 3, [[0, 1], [0, 1], [0, 1, 2]]),
    "shifted queries": (causal().shifted(queries=1), 2, 3, [[0, 1], [0, 1, 2]]),
    "shifted keys": (causal().shifted(keys=1), 3, 3, [[], [0], [0, 1]]),
    "shifted both": (same_block(2).shifted(1, 1), 3, 3, [[0], [1, 2], [1, 2]]),
    "shifted by a parameter": (causal().shifted(queries=left), 2, 3, [[0, 1], [0, 1, 2]]),
    "a shifted window from the last": (
        within(0, 0, "bottom_right").shifted(keys=-1),
        2,
        3,
        [[2], []],
    ),
}


@pytest.mark.parametrize(("mask", "queries", "keys", "due"), MASKS.values(), ids=MASKS)
def test_which_keys_a_query_sees(mask: Mask, queries: int, keys: int, due: list[list[int]]) -> None:
    assert seen_keys(mask, queries, keys) == due


def test_lengths_and_given_masks_read_inputs() -> None:
    assert seen_keys(key_lengths(), 1, 3, lengths=[2]) == [[0, 1]]
    assert seen_keys(key_lengths(), 1, 3, lengths=[0]) == [[]]
    assert seen_keys(query_lengths(), 3, 2, query_lengths=[2]) == [[0, 1], [0, 1], []]
    assert seen_keys(given(), 2, 2, mask=[[[[True, False], [True, True]]]]) == [[0], [0, 1]]
    both = given(["batch", "heads"]) & key_lengths()
    assert seen_keys(both, 1, 3, mask=[[False, True, True]], lengths=[2]) == [[1]]


def test_offsets_and_documents_read_inputs() -> None:
    assert seen_keys(causal(offset="input"), 2, 3, offset=[1]) == [[0, 1], [0, 1, 2]]
    assert seen_keys(causal(offset="input"), 2, 3, offset=[-1]) == [[], [0]]
    ids = {"segments": [[0, 0, 7]], "query_segments": [[7, 0]]}
    assert seen_keys(same_document(), 2, 3, **ids) == [[2], [0, 1]]


def test_masks_print_as_their_predicate() -> None:
    assert str(causal("bottom_right") & ~within(left=left)) == (
        "j <= i + n_k - n_q and j < i - left"
    )
    assert str(given() | key_lengths()) == "mask[b,h,i,j] or j < lengths[b]"
    assert str(everything()) == "true"


def test_top_k_keeps_the_largest_and_of_ties_the_first() -> None:
    scores = [[[[2.0, 5.0, 5.0, 1.0]]]]
    assert seen_keys(top_k(1), 1, 4, S=scores) == [[1]]
    assert seen_keys(top_k(2), 1, 4, S=scores) == [[1, 2]]
    assert seen_keys(top_k(9), 1, 4, S=scores) == [[0, 1, 2, 3]]
    assert seen_keys(top_k(1, among=causal()), 1, 4, S=scores) == [[0]]
    assert seen_keys(top_k(1, among=~first_keys(2)), 1, 4, S=scores) == [[2]]


def test_inputs_of_joined_masks_come_once() -> None:
    spec = attention("trial", mask=(given() & key_lengths()) | given())
    assert [entry.tensor.name for entry in spec.inputs] == ["Q", "K", "V", "mask", "lengths"]


def test_order_is_announced_where_a_mask_orders() -> None:
    assert "permutation equivariance" in attention("trial", mask=~causal()).announces
    assert dict(attention("trial", mask=everything()).announces) == {}
    assert dict(attention("trial", announces={"x": "y"}).announces) == {"x": "y"}


@pytest.mark.parametrize(
    "left_out", [(), ("batch",), ("heads", "queries"), ("batch", "heads", "queries", "keys")]
)
def test_broadcast_axes_are_left_out(left_out: tuple[str, ...]) -> None:
    spec = attention("trial", mask=given(left_out), bias=additive_bias(left_out))
    due = [name for name in ("batch", "heads", "queries", "keys") if name not in left_out]
    for name in ("mask", "bias"):
        assert [index.axis.name for index in spec.heads[name].indices] == due


def test_heads_are_shared_in_groups() -> None:
    """Query head h reads key head h // repeat, or h % group where the map is a tile."""
    rng = np.random.default_rng(3)
    base = arrays(load("grouped_query"), rng, SHAPES)
    maps = {"interleave": [0, 0, 0, 1, 1, 1], "tile": [0, 1, 0, 1, 0, 1]}
    for head_map, key_heads in maps.items():
        found = evaluate(load("grouped_query", head_map=head_map), base)["O"]
        spread = {name: np.take(base[name], key_heads, axis=1) for name in ("K", "V")}
        due = evaluate(load("global"), {"Q": base["Q"], **spread})["O"]
        check_arrays_close(found, due, digits=40)


SHAPES: Mapping[str, int] = {
    "batch": 1, "group": 2, "repeat": 3, "queries": 2, "keys": 3, "key_dim": 2, "value_dim": 1,
}  # fmt: skip


def test_the_scale_and_the_bias_reach_the_score() -> None:
    dots = "sum_k Q[b,h,i,k] K[b,h,j,k]"
    assert str(attention("trial").equation("S").body) == f"({dots}) / sqrt(d_k)"
    assert str(attention("trial", scale=2).equation("S").body).startswith("2 sum_k")
    text = str(attention("trial", scale=1, bias=additive_bias()).equation("S").body)
    assert text == "(sum_k Q[b,h,i,k] K[b,h,j,k]) + bias[b,h,i,j]"


def test_the_simplest_pipeline_is_the_global_spec() -> None:
    found, due = attention("global"), load("global")
    assert found.inputs == due.inputs
    for name in ("S", "A", "O"):
        assert str(found.equation(name)) == str(due.equation(name))
    assert (standard().query, grouped().key) == (standard().key, grouped("tile").key)
    assert (multi_query().query, multi_query().key) == (standard().query, ())


def test_a_cache_is_the_past_and_then_the_new_keys() -> None:
    due = load("kv_cache")
    found = attention("kv_cache", mask=causal("bottom_right"), cache=True)
    assert found.inputs == due.inputs
    assert [str(found.equation(n)) for n in ("K_all", "V_all", "S", "A", "O")] == [
        str(due.equation(n)) for n in ("K_all", "V_all", "S", "A", "O")
    ]


def test_queries_follow_the_past_whatever_number_of_keys_is_new() -> None:
    """By `past.size` query 0 stands after the past; from the last key it need not."""
    sizes = {**SHAPES, "heads": 1, "queries": 3, "past": 2, "new": 1, "keys": 3}
    (past,) = axes("past")
    spec = attention("follows", mask=causal(offset=past.size), cache=True)
    base = arrays(spec, np.random.default_rng(5), sizes)
    whole = {n: np.concatenate([base[f"{n}_past"], base[n]], axis=2) for n in ("K", "V")}
    due = evaluate(load("causal", offset=2), {"Q": base["Q"], **whole})["O"]
    check_arrays_close(evaluate(spec, base)["O"], due, digits=40)


@pytest.mark.parametrize("pairing", ["interleaved", "half"])
@pytest.mark.parametrize("tables", [False, True])
def test_positions_that_are_read_in_order_are_those_that_are_counted(
    pairing: str, tables: bool
) -> None:
    sizes = {**SHAPES, "heads": 1, "key_dim": 4, "pair": 2, "side": 2, "positions": 5, "rotary": 1}
    counted = attention("counted", position=rope(pairing, tables=tables))
    base = arrays(counted, np.random.default_rng(6), sizes)
    read = attention("read", position=rope(pairing, tables=tables, positions="input"))
    order = {"position_ids": np.arange(3)[None], "query_position_ids": np.arange(2)[None]}
    due, found = evaluate(counted, base)["O"], evaluate(read, {**base, **order})["O"]
    check_arrays_close(found, due, digits=40)
    moved = {**order, "position_ids": order["position_ids"] + 1}
    again = evaluate(read, {**base, **moved})["O"]
    assert max(abs(float(x - y)) for x, y in zip(again.flat, due.flat, strict=True)) > 1e-3


def test_bottom_right_agrees_with_top_left_on_squares() -> None:
    sizes = {**SHAPES, "heads": 1, "queries": 3}
    base = arrays(load("causal"), np.random.default_rng(4), sizes)
    one, other = (
        evaluate(load("causal", align=a), base)["O"] for a in ("top_left", "bottom_right")
    )
    check_arrays_close(one, other, digits=45)


WRONG: dict[str, tuple[Callable[[], object], type[AttnverifyError], str]] = {
    "an alignment": (
        lambda: attention("x", mask=causal("left")),
        ParameterError,
        "unknown alignment",
    ),
    "an alignment of a window": (
        lambda: attention("x", mask=within(1, align="right")),
        ParameterError,
        "'top_left' or 'bottom_right'",
    ),
    "a head map": (lambda: grouped("spread"), ParameterError, "unknown head map"),
    "an axis of a mask": (
        lambda: attention("x", mask=given(["key_dim"])),
        ParameterError,
        "key_dim",
    ),
    "an axis of a bias": (
        lambda: attention("x", bias=additive_bias(["time"])),
        ParameterError,
        "axis that scores lack",
    ),
    "a source of documents": (
        lambda: attention("x", mask=same_document("ids")),
        ParameterError,
        "'segments' or 'bounds'",
    ),
    "a pairing": (lambda: rope("thirds"), ParameterError, "'interleaved' or 'half'"),
    "tables and a part": (
        lambda: rope(tables=True, rotary_dim=2),
        ParameterError,
        "tables say by their own size",
    ),
    "a source of positions": (
        lambda: rope(positions="ids"),
        ParameterError,
        "'counted' or 'input'",
    ),
    "positions that are read and counted": (
        lambda: rope(positions="input", offset=1),
        ParameterError,
        "not counted from anywhere",
    ),
    "one sequence with a cache": (
        lambda: attention("x", cache=True, one_sequence=True),
        ParameterError,
        "no one sequence",
    ),
    "a norm": (lambda: qk_norm("max"), ParameterError, "'l2' or 'rms'"),
    "slopes without heads": (
        lambda: attention("x", heads=single(), bias=alibi_bias()),
        ParameterError,
        "slopes belong to heads",
    ),
    "two ways to split channels": (
        lambda: attention("x", position=[rope(), rope("half")]),
        ParameterError,
        "split the key channels",
    ),
    "a convention": (
        lambda: attention("x", mask=causal(), empty_rows="mean"),
        ParameterError,
        "'zeros' or 'nan' or 'uniform'",
    ),
    "a convention for no row": (
        lambda: attention("x", empty_rows="nan"),
        ParameterError,
        "no row is without keys",
    ),
    "a convention where nothing is divided": (
        lambda: attention("x", mask=causal(), empty_rows="nan", normaliser=sigmoid_weights()),
        ParameterError,
        "not divided by a sum",
    ),
    "a scale beside a temperature": (
        lambda: attention("x", score=cosine_score(), scale=2),
        ParameterError,
        "scale of its own",
    ),
    "a scaled bias that is not there": (
        lambda: attention("x", scale_bias=True),
        ParameterError,
        "no bias to scale",
    ),
    "scores scaled by how many keys their ranks show": (
        lambda: attention(
            "x", mask=given() | top_k(2, among=causal()), normaliser=scalable_weights()
        ),
        ParameterError,
        "the mask ranks the scores",
    ),
    "a cap that is not there": (
        lambda: attention("x", mask=causal(), cap_before_mask=False),
        ParameterError,
        "no cap",
    ),
    "a mask that is not there": (
        lambda: attention("x", cap=2, cap_before_mask=False),
        ParameterError,
        "no mask to cap",
    ),
    "a base of no sum": (
        lambda: attention("x", normaliser=relu_weights(), lse_base=2),
        ParameterError,
        "no log-sum-exp",
    ),
    "a shift along an input": (
        lambda: attention("x", mask=given().shifted(queries=1)),
        SpecError,
        "cannot be shifted",
    ),
    "a shift by an entry": (
        lambda: attention("x", mask=causal().shifted(queries=Tensor("d", "int")[()])),
        SpecError,
        "shifted by a number",
    ),
    "a mask joined with a predicate": (lambda: causal() & TRUE, SpecError, "combines with a mask"),
    "a parameter that is not listed": (
        lambda: attention("x", mask=within(left=left)),
        SpecError,
        "unbound name",
    ),
}


@pytest.mark.parametrize(("build", "kind", "words"), WRONG.values(), ids=WRONG)
def test_a_wrong_choice_is_told_in_words(
    build: Callable[[], object], kind: type[AttnverifyError], words: str
) -> None:
    with pytest.raises(kind, match=words):
        build()


def test_every_pair_of_masks_joins_as_sets_do() -> None:
    singles = [causal(), within(left=1), within(right=1), ~causal()]
    for one, other in product(singles, repeat=2):
        a, b = seen_keys(one, 3, 4), seen_keys(other, 3, 4)
        both, either = seen_keys(one & other, 3, 4), seen_keys(one | other, 3, 4)
        for row in range(3):
            assert set(both[row]) == set(a[row]) & set(b[row])
            assert set(either[row]) == set(a[row]) | set(b[row])


def test_a_stage_sees_the_indices_of_the_score() -> None:
    def diagonal(site: Any) -> Predicate:
        assert all(isinstance(index, Index) for index in (site.b, site.i, site.j, site.k, site.c))
        return conjunction(site.i <= site.j, site.j <= site.i)

    assert seen_keys(Mask(diagonal), 2, 2) == [[0], [1]]
    spec: Spec = attention("trial", scale=Fraction(1, 2), description="why")
    assert spec.description == "why"
