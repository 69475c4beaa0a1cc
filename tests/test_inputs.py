"""Drawn cases: reproducible, of every kind they promise, with rows that see keys unless asked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import attnverify as av
from attnverify.dtypes import float_type
from attnverify.errors import ParameterError
from attnverify.inputs import STYLES, Draw, cases, smaller, supported
from attnverify.notation import parameter


@pytest.mark.parametrize("name", av.catalog())
def test_every_spec_has_a_schedule_from_one_upward(name: str) -> None:
    spec = av.load(name)
    drawn = list(Draw(spec).schedule(seed=3, count=18))
    assert len(drawn) == 18
    assert drawn[0].sizes == spec.fitted({axis.name: 1 for axis in spec.axes})
    assert max(drawn[-1].sizes.values()) > 30
    assert {case.style for case in drawn} == set(STYLES)
    for case in drawn:
        assert list(case.arrays) == [entry.tensor.name for entry in spec.inputs]
        assert not case.empty
        av.compile(spec)(**case.arrays, **case.parameters, sizes=case.sizes)


def test_a_seed_says_it_all() -> None:
    first, again, other = (list(Draw(av.load("masked")).schedule(seed, 6)) for seed in (1, 1, 2))
    for one, two in zip(first, again, strict=True):
        assert one.sizes == two.sizes
        for name in one.arrays:
            np.testing.assert_array_equal(one.arrays[name], two.arrays[name])
    assert any(
        one.sizes != two.sizes or not np.array_equal(one.arrays["Q"], two.arrays["Q"])
        for one, two in zip(first, other, strict=True)
    )


def test_queries_and_keys_differ_in_number_both_ways() -> None:
    drawn = list(Draw(av.load("global")).schedule(0, 24))
    assert any(case.sizes["queries"] < case.sizes["keys"] for case in drawn)
    assert any(case.sizes["queries"] > case.sizes["keys"] for case in drawn)
    assert any(case.sizes["key_dim"] != case.sizes["value_dim"] for case in drawn)


@pytest.mark.parametrize("style", STYLES)
def test_styles_are_signed_and_rounded_to_the_type(style: str) -> None:
    draw = Draw(av.load("global"), dtype="bfloat16")
    case = draw.case({"queries": 9, "keys": 9, "key_dim": 8, "value_dim": 8}, seed=0, style=style)
    for array in [*case.arrays.values(), *case.cotangents.values()]:
        assert array.dtype == float_type("bfloat16").numpy
    both = np.concatenate([a.astype(float).ravel() for a in case.arrays.values()])
    assert (both < 0).any()
    assert (both > 0).any()


def test_styles_reach_what_they_are_for() -> None:
    sizes = {"queries": 16, "keys": 16, "key_dim": 16}
    draw = Draw(av.load("global"), dtype="float32")

    def scores(style: str) -> Any:
        arrays = draw.case(sizes, seed=0, style=style).arrays
        q, k = (arrays[name].astype(float) for name in "QK")
        return q @ k.swapaxes(-1, -2) / 4

    assert scores("towering").max() > 88
    assert scores("sunken").max() < -88
    assert abs(scores("flat")).max() < 0.2
    assert (draw.case(sizes, seed=0, style="zeros").arrays["Q"] == 0).any()


def test_product_axes_are_one_axis_of_the_array() -> None:
    case = Draw(av.load("grouped_query")).case({"group": 2, "repeat": 3, "keys": 4}, seed=0)
    assert case.arrays["Q"].shape[1] == 6
    assert case.arrays["K"].shape[1] == 2


def test_rows_without_keys_come_when_asked_and_only_then() -> None:
    spec = av.load("masked")
    assert not any(case.empty for case in Draw(spec).schedule(0, 18))
    draw = Draw(spec, empty=True)
    found = [case for case in draw.schedule(0, 18) if case.empty]
    assert found
    rows = draw.empty_rows(found[-1], "O")
    assert rows is not None
    seen = found[-1].arrays["mask"].any(-1, keepdims=True)
    np.testing.assert_array_equal(rows, np.broadcast_to(~seen, rows.shape))


def test_structural_masks_leave_rows_empty_too() -> None:
    spec = av.load("causal", align="bottom_right")
    draw = Draw(spec)
    assert draw.rows_without_keys(draw.case({"queries": 3, "keys": 2}, seed=0))
    assert not draw.rows_without_keys(draw.case({"queries": 2, "keys": 3}, seed=0))
    assert not Draw(av.load("global")).masked


def test_lengths_run_from_none_to_all() -> None:
    draw = Draw(av.load("padding"), empty=True)
    found = [draw.case({"batch": 3, "keys": 3}, seed=s).arrays["lengths"] for s in range(20)]
    assert set(np.concatenate(found).tolist()) == {0, 1, 2, 3}


DOMAINS: list[tuple[dict[str, Any], Any]] = [
    ({"integer": True, "ge": 1}, lambda v: v >= 1 and isinstance(v, int)),
    ({"integer": True, "gt": 7, "lt": 9}, lambda v: v == 8),
    ({"integer": True, "le": -3}, lambda v: v <= -3),
    ({"gt": 0, "lt": 0.01}, lambda v: 0 < v < 0.01),
    ({"default": 50.0, "gt": 0}, lambda v: v in (25.0, 50.0, 100.0) or 0 < v < 2),
]


@pytest.mark.parametrize(("domain", "inside"), DOMAINS)
def test_parameters_stay_in_their_domain(domain: dict[str, Any], inside: Any) -> None:
    from attnverify.inputs.sizes import parameter_value

    drawn = parameter("p", **domain)
    rng = np.random.default_rng(0)
    values = [parameter_value(drawn, {"queries": 5, "keys": 6}, rng) for _ in range(30)]
    assert all(inside(value) for value in values)


def test_windows_are_drawn_around_the_lengths() -> None:
    draw = Draw(av.load("sliding_window"))
    found = {draw.case({"queries": 5, "keys": 5}, seed=s).parameters["window"] for s in range(60)}
    assert {1, 2, 4, 5, 6} <= found


SUPPORT: list[tuple[dict[str, Any], dict[str, int]]] = [
    ({"heads": 4}, {"heads": 4}),
    ({"heads": [2, 8]}, {"heads": 2}),
    ({"value_dim": "key_dim"}, {"value_dim": 7}),
    ({"queries": "heads*key_dim", "heads": [5]}, {"queries": 35, "heads": 5}),
    ({"keys": "16*heads"}, {"keys": 48}),
]


@pytest.mark.parametrize(("rules", "due"), SUPPORT)
def test_a_subject_declares_its_sizes(rules: dict[str, Any], due: dict[str, int]) -> None:
    spec = av.load("global")
    sizes = {"batch": 1, "heads": 3, "queries": 2, "keys": 3, "key_dim": 7, "value_dim": 2}
    assert supported(spec, sizes, rules) == {**sizes, **due}


@pytest.mark.parametrize("rules", [{"head": 4}, {"heads": "tokens"}])
def test_sizes_of_unknown_axes_are_refused(rules: dict[str, Any]) -> None:
    with pytest.raises(ParameterError, match="axis"):
        supported(av.load("global"), {"heads": 1}, rules)


def test_smaller_sizes_come_smallest_first() -> None:
    found = list(smaller({"a": 3, "b": 2}, 2))
    assert found == [
        {"a": 1, "b": 1}, {"a": 1, "b": 2}, {"a": 2, "b": 1}, {"a": 2, "b": 2}, {"a": 3, "b": 1},
    ]  # fmt: skip


@given(st.data())
def test_strategies_draw_fitting_cases(data: st.DataObject) -> None:
    spec = av.load("local")
    case = data.draw(cases(spec, dtype="float32"))
    assert case.arrays["K"].shape[2] == case.sizes["keys"] <= 7
    assert not case.empty
    assert av.compile(spec)(**case.arrays, **case.parameters)["O"].shape[2] == case.sizes["queries"]


def test_a_case_changes_type_by_rounding() -> None:
    case = Draw(av.load("masked")).case({"keys": 3}, seed=0).converted("float16")
    assert case.arrays["Q"].dtype == np.float16
    assert case.arrays["mask"].dtype == bool
    assert case.cotangents["O"].dtype == np.float16
