"""Corners: the sizes, values and masks that they promise, and a row that sees a key in each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import attnverify as av
from attnverify.inputs import Case, Draw
from attnverify.inputs.corners import CORNERS
from attnverify.notation import attention, causal, rope


def corners(name: str, **choices: Any) -> list[Case]:
    return list(Draw(av.load(name, **choices), dtype="float32").corners(0))


@pytest.mark.parametrize("name", ["global", "masked", "grouped_query", "kv_cache", "elman"])
def test_every_row_of_a_corner_sees_a_key_and_compiles(name: str) -> None:
    found = corners(name)
    assert found
    for case in found:
        assert not case.empty
        av.compile(av.load(name))(**case.arrays, **case.parameters, sizes=case.sizes)


def test_lengths_and_channels_pass_what_kernels_round_to() -> None:
    found = [case.sizes for case in corners("global")]
    assert len(found) == len(CORNERS)
    assert max(sizes["key_dim"] for sizes in found) > 128
    assert any(64 < sizes["value_dim"] < 96 for sizes in found)
    assert any(sizes["queries"] < 256 < sizes["keys"] for sizes in found)
    assert any(sizes["keys"] < 256 < sizes["queries"] for sizes in found)


def test_a_recurrence_has_no_long_corner() -> None:
    assert max(case.sizes["time"] for case in corners("elman")) < 67


def test_two_corners_in_turn_have_the_same_sizes_and_other_entries() -> None:
    *_, one, two = corners("global")
    assert one.sizes == two.sizes
    assert one.arrays["Q"].shape == two.arrays["Q"].shape
    assert (one.arrays["Q"] != two.arrays["Q"]).any()


def test_styles_of_corners_reach_what_they_are_for() -> None:
    by_style = {case.style: case.arrays for case in corners("global")}
    deep, equal, tiny = (by_style[style] for style in ("deep", "equal", "tiny"))
    scores = deep["Q"] @ deep["K"].swapaxes(-1, -2) / deep["Q"].shape[-1] ** 0.5
    assert scores.max() < -5e4
    assert (equal["K"] == equal["K"][..., :1, :]).all()
    assert (equal["V"] != equal["V"][..., :1, :]).any()
    below = abs(tiny["Q"]) < np.finfo(np.float32).tiny
    assert (below & (tiny["Q"] != 0)).any()
    assert (np.signbit(tiny["Q"]) & (tiny["Q"] == 0)).any()


def test_masks_of_corners_hide_what_comes_first_or_last_or_all_but_one() -> None:
    left, _, right, *_ = (case.arrays["mask"] for case in corners("masked"))
    (one,) = (
        case.arrays["mask"]
        for case, corner in zip(corners("masked"), CORNERS, strict=True)
        if corner.masks == "one"
    )
    assert (np.diff(left.astype(int)) >= 0).all()
    assert not left.all()
    assert (np.diff(right.astype(int)) <= 0).all()
    assert not right.all()
    assert (one.sum(-1) == 1).all()


def test_masked_scores_of_turned_queries_are_shifted_like_any_others() -> None:
    spec = attention("causal_rope", position=rope("half"), mask=causal())
    one, values = np.ones((1, 1, 2, 1)), np.array([[[[3.0], [3.0]]]])
    q, k = (np.concatenate([one, side * 300 * one], -1) for side in (1, -1))
    np.testing.assert_array_equal(av.compile(spec)(Q=q, K=k, V=values)["O"], values)
