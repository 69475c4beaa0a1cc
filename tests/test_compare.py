"""The comparison fails where it must: form, finiteness, one entry, the whole output, bits."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from attnverify.compare import (
    Due,
    Filter,
    Form,
    convention,
    judge,
    require,
    same_bits,
    together,
    within,
)
from attnverify.errors import RefutedError
from attnverify.verdict import Status

Array = npt.NDArray[np.float64]
AXES = ("queries", "value_dim")


def due(value: object, sigma: object = 0.1) -> Due:
    array = np.asarray(value, dtype=float)
    return Due(
        array, np.broadcast_to(np.asarray(sigma, dtype=float), array.shape), AXES[: array.ndim]
    )


ENTRIES = [
    # got, due, sigma, held
    ([1.0, 2.0], [1.0, 2.0], 0.1, True),
    ([1.0, 2.59], [1.0, 2.0], 0.1, True),
    ([1.0, 2.61], [1.0, 2.0], 0.1, False),
    ([1.0, 1.39], [1.0, 2.0], 0.1, False),
    ([0.0, 0.0], [0.0, 0.0], 0.0, True),
    ([0.0, -0.0], [0.0, 0.0], 0.0, True),
    ([0.0, 1e-300], [0.0, 0.0], 0.0, False),
    ([np.nan, 1.0], [0.0, 1.0], 0.1, False),
    ([np.inf, 1.0], [0.0, 1.0], 0.1, False),
    ([np.nan, 1.0], [np.nan, 1.0], 0.1, True),
    ([0.0, 1.0], [np.nan, 1.0], 0.1, False),
    ([np.inf, 1.0], [np.inf, 1.0], 0.1, True),
    ([-np.inf, 1.0], [np.inf, 1.0], 0.1, False),
    ([np.nan, 1.0], [np.inf, 1.0], 0.1, False),
]


@pytest.mark.parametrize(("got", "value", "sigma", "held"), ENTRIES)
def test_entries(got: list[float], value: list[float], sigma: float, held: bool) -> None:
    verdict = judge("forward O", np.array(got), due(value, sigma))
    assert (verdict.status is Status.HELD) is held
    assert (verdict.status is Status.REFUTED) is not held


def test_the_first_wrong_entry_is_told_with_its_place_and_bound() -> None:
    got = np.zeros((2, 3))
    got[0, 2], got[1, 1] = 1.0, 9.0
    verdict = judge("forward O", got, due(np.zeros((2, 3))))
    assert verdict.witness is not None
    assert verdict.witness.index == {"queries": 0, "value_dim": 2}
    assert (verdict.witness.got, verdict.witness.due) == (1.0, 0.0)
    assert verdict.witness.bound == pytest.approx(0.6)
    assert "2 of 6 entries fail" in verdict.detail
    assert "worst [queries=1, value_dim=1]: got 9" in verdict.detail


def test_nan_is_counted_apart() -> None:
    verdict = judge("forward O", np.full((2, 2), np.nan), due(np.zeros((2, 2))))
    assert "4 entries are NaN or infinite where a finite value is due" in verdict.detail


@pytest.mark.parametrize(
    ("shape", "words"), [((1, 3), "shape (1, 3), due (2, 3)"), ((3,), "shape (3), due (2, 3)")]
)
def test_nothing_is_broadcast(shape: tuple[int, ...], words: str) -> None:
    verdict = judge("forward O", np.zeros(shape), due(np.zeros((2, 3))))
    assert verdict.status is Status.REFUTED
    assert words in verdict.detail


def test_nothing_is_cast() -> None:
    form = Form((2, 3), "n d", "float32")
    wide = judge("forward O", np.zeros((2, 3)), due(np.zeros((2, 3))), form)
    assert (wide.status, wide.detail) == (Status.REFUTED, "dtype float64, due float32")
    narrow = judge("forward O", np.zeros((2, 3), np.float32), due(np.zeros((2, 3))), form)
    assert narrow.status is Status.HELD


def test_a_layout_is_undone_before_values_are_compared() -> None:
    value = np.arange(6.0).reshape(2, 3)
    form = Form((3, 2), "d n", "float64", lambda array: array.T)
    assert judge("forward O", value.T.copy(), due(value), form).status is Status.HELD
    assert judge("forward O", value, due(value), form).status is Status.REFUTED


def test_many_small_errors_fail_together() -> None:
    value = np.zeros((100, 4))
    assert judge("forward O", value + 0.14, due(value)).status is Status.HELD
    verdict = judge("forward O", value + 0.2, due(value))
    assert verdict.status is Status.REFUTED
    assert "root mean square of error over sigma is 2.00" in verdict.detail


def test_one_row_may_stray_as_one_entry_may() -> None:
    assert judge("forward O", np.full((1, 4), 0.5), due(np.zeros((1, 4)))).status is Status.HELD


def test_without_a_bound_nothing_is_decided() -> None:
    verdict = judge("forward O", np.zeros(2), due(np.zeros(2), np.nan))
    assert verdict.status is Status.UNDECIDED
    assert "no bound" in verdict.detail


def test_nothing_at_all_is_right_only_where_zeros_are_due() -> None:
    assert judge("backward dQ", None, due(np.zeros(2), 0.0)).status is Status.HELD
    assert judge("backward dQ", None, due(np.zeros(2), 0.1)).status is Status.REFUTED
    assert judge("backward dQ", None, due(np.ones(2), 0.0)).status is Status.REFUTED


def test_errors_below_the_reach_of_float64_count_against_a_wider_reference() -> None:
    value = np.ones(2, np.longdouble)
    off = Due(value + np.longdouble(2) ** -55, np.full(2, 2.0**-60), ("queries",))
    wide = np.finfo(np.longdouble).eps < 2.0**-60
    expected = Status.REFUTED if wide else Status.HELD
    assert judge("forward O", np.ones(2), off).status is expected


def test_require_raises_with_the_reason() -> None:
    with pytest.raises(RefutedError, match="1 of 2 entries fail"):
        require("forward O", np.array([0.0, 1.0]), due(np.zeros(2)))
    assert require("forward O", np.zeros(2), due(np.zeros(2))).status is Status.HELD


def test_within_a_whole_bound() -> None:
    value = np.zeros(2)
    assert within("gap", np.array([0.0, 0.09]), value, 0.1).status is Status.HELD
    assert within("gap", np.array([0.0, 0.11]), value, 0.1).status is Status.REFUTED
    assert within("gap", np.zeros(3), value, 0.1).status is Status.REFUTED


BITS: list[tuple[Array, Array, bool]] = [
    (np.array([1.0, np.nan]), np.array([1.0, np.nan]), True),
    (np.array([0.0]), np.array([-0.0]), False),
    (np.array([1.0]), np.array([[1.0]]), False),
    (np.array([1.0]), np.array([np.nextafter(1, 2)]), False),
]


@pytest.mark.parametrize(("got", "value", "same"), BITS)
def test_bits(got: Array, value: Array, same: bool) -> None:
    assert (same_bits("O", got, value).status is Status.HELD) is same


def test_types_are_bits_too() -> None:
    assert same_bits("O", np.zeros(2, np.float32), np.zeros(2)).status is Status.REFUTED


@pytest.mark.parametrize(
    ("entries", "word"),
    [
        ([0.0, 0.0], "zeros"), ([np.nan, np.nan], "nan"),
        ([0.0, 0.5], "other"), ([0.0, np.nan], "mixed"),
    ],
)  # fmt: skip
def test_conventions_have_names(entries: list[float], word: str) -> None:
    assert convention(np.array(entries)) == word


# What many answers have in common


def matched(spread: float, count: int = 64, shared: bool = False) -> list[Filter]:
    """Filters of draws that noise moves by `spread`, each by itself or all of them alike."""
    rng = np.random.default_rng(0)
    ones = rng.standard_normal((1, 200))
    return [
        Filter(np.ones(1), spread * (ones if shared else rng.standard_normal((1, 200))))
        for _ in range(count)
    ]


TOGETHER = [
    # amplitude, spread of one draw, whether noise is shared, floor, held
    (1e-2, 1e-2, False, 0.0, False),
    (1e-2, 1e-2, True, 0.0, True),
    (1e-2, 1e-2, False, 2e-3, True),
    (1e-3, 1e-2, False, 0.0, True),
    (-1e-2, 1e-2, False, 0.0, False),
    (-7e-2, 1e-2, True, 0.0, False),
]


@pytest.mark.parametrize(("amplitude", "spread", "shared", "floor", "held"), TOGETHER)
def test_what_many_draws_share_counts_by_what_their_noise_shares(
    amplitude: float, spread: float, shared: bool, floor: float, held: bool
) -> None:
    filters = matched(spread, shared=shared)
    verdict = together("O", [amplitude] * len(filters), filters, floor, "the scale were off")
    assert (verdict.status is Status.HELD) is held
    assert verdict.evidence["amplitude"] == pytest.approx(amplitude)
    assert held or f"off by {100 * amplitude:+.3g} %" in verdict.detail


def test_the_widest_form_and_the_draws_that_tell_most_count() -> None:
    narrow, wide = np.full((1, 4), 1e-3), np.full((1, 4), 1.0)
    forms = [Filter(np.ones(1), np.vstack([narrow, 3 * narrow]))]
    assert together("O", [0.0], forms, 0.0, "").evidence["spread"] == pytest.approx(3e-3)
    two = [Filter(np.ones(1), narrow), Filter(np.ones(1), wide)]
    assert together("O", [0.0, 5.0], two, 0.0, "").evidence["amplitude"] == pytest.approx(5e-6)


def test_where_nothing_moves_nothing_is_said() -> None:
    still = [Filter(np.ones(1), np.zeros((1, 4)))]
    assert together("O", [1.0], still, 0.0, "").status is Status.UNDECIDED


def test_an_answer_says_how_far_it_goes_along_a_filter() -> None:
    value = np.array([1.0, 2.0, np.nan])
    weights = np.array([0.2, 0.4, 0.0])
    due_ = Due(value, np.full(3, 0.1), ("keys",), {"gain": Filter(weights, np.ones((1, 2)))})
    verdict = judge("forward O", value * 1.01, due_)
    assert verdict.evidence["along"]["gain"] == pytest.approx(0.01)
