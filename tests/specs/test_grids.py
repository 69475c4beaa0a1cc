"""Attention on a grid and with global tokens against loops from papers, and what it becomes."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from attnverify import load
from tests.specs.loops import LONG, Array, Arrays, attend, expect, given, long, scaled, weigh
from tests.specs.reference import computed, expect_equal

GRID = {"batch": 2, "heads": 2, "key_dim": 2, "value_dim": 3, "model": 3}
IMAGES = ({"rows": 1, "columns": 1}, {"rows": 5, "columns": 4}, {"rows": 2, "columns": 6})
TILES = (
    {"tile_rows": 1, "row_offsets": 1, "tile_columns": 1, "column_offsets": 1},
    {"tile_rows": 2, "row_offsets": 3, "tile_columns": 3, "column_offsets": 2},
    {"tile_rows": 3, "row_offsets": 2, "tile_columns": 1, "column_offsets": 4},
)


def start(at: int, length: int, kernel: int) -> int:
    """Where NATTEN's window begins: moved inwards at both borders."""
    return max(0, min(at - kernel // 2, length - kernel))


def neighbourhood(a: Arrays, kernel: int) -> Array:
    """Each pixel sees the kernel x kernel pixels of its window, by relative bias where given."""
    n_rows, n_columns = a["Q"].shape[2:4]
    out = np.zeros((*a["Q"].shape[:4], a["V"].shape[-1]), LONG)
    for b, h, y, x in np.ndindex(*out.shape[:4]):
        top, left = start(y, n_rows, kernel), start(x, n_columns, kernel)
        window = list(
            product(
                range(top, min(top + kernel, n_rows)), range(left, min(left + kernel, n_columns))
            )
        )
        scores = [scaled(a["Q"][b, h, y, x], a["K"][b, h, u, w]) for u, w in window]
        if "bias" in a:
            at = [(u - y + kernel - 1, w - x + kernel - 1) for u, w in window]
            scores = [s + a["bias"][h, p, q] for s, (p, q) in zip(scores, at, strict=True)]
        values = [a["V"][b, h, u, w] for u, w in window]
        out[b, h, y, x] = weigh([True] * len(window), scores, values, out.shape[-1])
    return out


@pytest.mark.parametrize("image", IMAGES, ids=("one", "wide", "flat"))
@pytest.mark.parametrize("kernel", [1, 2, 3, 4])
@pytest.mark.parametrize("relative", [False, True])
def test_neighbourhoods_are_what_loops_compute(
    image: dict[str, int], kernel: int, relative: bool
) -> None:
    spec = load("neighbourhood_2d", kernel=kernel, relative=relative)
    inputs = given(spec, {**GRID, **image, "up": 2 * kernel - 1, "across": 2 * kernel - 1})
    expect(spec, inputs, neighbourhood(long(inputs), kernel))


def flat(a: Array) -> Array:
    """Pixels of an image as one sequence."""
    return a.reshape(*a.shape[:2], -1, a.shape[-1])


def test_a_kernel_as_large_as_the_image_sees_all() -> None:
    spec = load("neighbourhood_2d", kernel=5)
    inputs = given(spec, {**GRID, **IMAGES[1]})
    due = computed(load("global"), {n: flat(a) for n, a in inputs.items()}).values["O"]
    expect(spec, inputs, due.reshape(inputs["V"].shape))


def rolled(a: Arrays, sizes: dict[str, int], shift: int) -> Array:
    """Swin as its authors run it: roll, windows, a mask between regions, windows, roll back."""
    tall, broad = sizes["row_offsets"], sizes["column_offsets"]
    bias = np.roll(a["bias"], (-shift,) * 4, axis=(1, 2, 3, 4))
    q, k, v = (np.roll(a[n], (-shift, -shift), axis=(2, 3)) for n in "QKV")
    n_rows, n_columns = q.shape[2:4]
    region = np.zeros((n_rows, n_columns), int)
    parts = [
        [slice(0, n - m), slice(n - m, n - shift), slice(n - shift, n)] if shift else [slice(0, n)]
        for n, m in ((n_rows, tall), (n_columns, broad))
    ]
    for number, (rows, columns) in enumerate(product(*parts)):
        region[rows, columns] = number
    out = np.zeros((*q.shape[:4], v.shape[-1]), LONG)
    for b, h, y, x in np.ndindex(*out.shape[:4]):
        top, left = y - y % tall, x - x % broad
        window = list(product(range(top, top + tall), range(left, left + broad)))
        scores = [
            scaled(q[b, h, y, x], k[b, h, u, w]) + bias[h, y - top, x - left, u - top, w - left]
            for u, w in window
        ]
        seen = [region[u, w] == region[y, x] for u, w in window]
        out[b, h, y, x] = weigh(seen, scores, [v[b, h, u, w] for u, w in window], v.shape[-1])
    return np.roll(out, (shift, shift), axis=(2, 3))


@pytest.mark.parametrize("tiles", TILES, ids=("one", "wide", "tall"))
def test_blocks_are_what_loops_compute(tiles: dict[str, int]) -> None:
    spec = load("blocked_2d")
    inputs = given(spec, {**GRID, **tiles})
    expect(spec, inputs, rolled(long(inputs), tiles, 0))


@pytest.mark.parametrize("tiles", TILES[1:], ids=("wide", "tall"))
def test_shifted_windows_are_what_rolling_and_masking_computes(tiles: dict[str, int]) -> None:
    spec = load("shifted_window_2d", shift=1)
    inputs = given(spec, {**GRID, **tiles})
    expect(spec, inputs, rolled(long(inputs), tiles, 1))


def test_windows_shifted_by_nothing_are_blocks() -> None:
    inputs = given(load("blocked_2d"), {**GRID, **TILES[1]})
    expect_equal(
        computed(load("shifted_window_2d", shift=0), inputs), computed(load("blocked_2d"), inputs)
    )


def axial(a: Arrays, order: str) -> Array:
    """Ho et al. 2019: multi-head attention within rows and within columns, one after the other."""
    image = a["X"]
    for number, line in enumerate(
        ("rows", "columns") if order == "rows_columns" else ("columns", "rows")
    ):
        w_q, w_k, w_v, w_o = (a[f"W_{n}{number + 1}"] for n in "QKVO")
        if line == "columns":
            image = image.swapaxes(1, 2)
        out = np.zeros_like(image)
        for b, row in np.ndindex(*image.shape[:2]):
            x = image[b, row]
            for h in range(w_q.shape[1]):
                q, k, v = (x @ w[:, h] for w in (w_q, w_k, w_v))
                out[b, row] = out[b, row] + attend(q, k, v, scaled) @ w_o[h]
        image = out.swapaxes(1, 2) if line == "columns" else out
    return image


@pytest.mark.parametrize("image", IMAGES, ids=("one", "wide", "flat"))
@pytest.mark.parametrize("order", ["rows_columns", "columns_rows"])
def test_axial_passes_are_what_loops_compute(image: dict[str, int], order: str) -> None:
    spec = load("axial_2d", order=order)
    inputs = given(spec, {**GRID, **image})
    expect(spec, inputs, axial(long(inputs), order))


def windowed(a: Arrays, window: int, first: int) -> Array:
    """Longformer: a global row reads its own projections of all tokens, others the window."""
    n = a["Q"].shape[2]
    out = np.zeros((*a["Q"].shape[:3], a["V"].shape[-1]), LONG)
    for b, h, i in np.ndindex(*out.shape[:3]):
        marked = [bool(a["marked"][b, t]) if "marked" in a else t < first for t in range(n)]
        own = "_G" if marked[i] and "Q_G" in a else ""
        q, k, v = (a[name + own] for name in "QKV")
        seen = [marked[i] or marked[j] or abs(i - j) <= window for j in range(n)]
        scores = [scaled(q[b, h, i], k[b, h, j]) for j in range(n)]
        out[b, h, i] = weigh(seen, scores, list(v[b, h]), out.shape[-1])
    return out


@pytest.mark.parametrize("length", [1, 7])
@pytest.mark.parametrize("projections", ["shared", "separate"])
@pytest.mark.parametrize("tokens", ["first", "given"])
def test_global_tokens_are_what_loops_compute(length: int, projections: str, tokens: str) -> None:
    number: dict[str, Any] = {"globals": 2} if tokens == "first" else {}
    spec = load("window_global", projections=projections, tokens=tokens, window=2, **number)
    inputs = given(spec, {**GRID, "time": length})
    expect(spec, inputs, windowed(long(inputs), 1, 2))


@pytest.mark.parametrize("tokens", ["first", "given"])
def test_without_global_tokens_the_window_is_local(tokens: str) -> None:
    number: dict[str, Any] = {"globals": 0} if tokens == "first" else {}
    spec = load("window_global", tokens=tokens, window=2, **number)
    inputs = given(spec, {**GRID, "time": 6})
    if tokens == "given":
        inputs["marked"] = np.zeros_like(inputs["marked"])
    local = {n: a for n, a in inputs.items() if n != "marked"}
    expect_equal(computed(spec, inputs), computed(load("local", left=1, right=1), local))


def test_the_same_separate_projections_are_shared_ones() -> None:
    spec = load("window_global", window=2, globals=2)
    inputs = given(spec, {**GRID, "time": 6})
    twice = {**inputs, **{f"{n}_G": inputs[n] for n in "QKV"}}
    separate = load("window_global", projections="separate", window=2, globals=2)
    expect_equal(computed(separate, twice), computed(spec, inputs))
