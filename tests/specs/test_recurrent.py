"""Recurrent networks and convolutions against loops written from their papers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from attnverify import load
from tests.specs.reference import SHAPES, Array, computed, drawn, expect_equal

Arrays = dict[str, Array]
ALL = range(len(SHAPES))


def sigma(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def rows(x: Array, *weights: Array) -> list[Array]:
    """Each weight matrix times each row of a batch."""
    return [np.array([w @ row for row in x]) for w in weights]


def stacked(states: list[Array]) -> Array:
    return np.stack(states, axis=1)


def elman(activation: Callable[[Array], Array]) -> Callable[[Arrays], Array]:
    def run(a: Arrays) -> Array:
        h, states = a["H0"], []
        for t in range(a["X"].shape[1]):
            (read,), (kept,) = rows(a["X"][:, t], a["W"]), rows(h, a["U"])
            h = activation(read + kept + a["bias"])
            states.append(h)
        return stacked(states)

    return run


def gru(after: bool) -> Callable[[Arrays], Array]:
    def run(a: Arrays) -> Array:
        h, states = a["H0"], []
        for t in range(a["X"].shape[1]):
            x_r, x_z, x_n = rows(a["X"][:, t], a["W_r"], a["W_z"], a["W_n"])
            h_r, h_z, h_n = rows(h, a["U_r"], a["U_z"], a["U_n"])
            r, z = sigma(x_r + h_r + a["b_r"]), sigma(x_z + h_z + a["b_z"])
            inside = r * (h_n + a["c_n"]) if after else rows(r * h, a["U_n"])[0]
            n = np.tanh(x_n + inside + a["b_n"])
            h = z * h + (1 - z) * n
            states.append(h)
        return stacked(states)

    return run


def lstm(forget: bool) -> Callable[[Arrays], Array]:
    def run(a: Arrays) -> Array:
        h, c, states = a["H0"], a["C0"], []
        for t in range(a["X"].shape[1]):

            def net(gate: str, h: Array = h, t: int = t) -> Array:
                (read,), (kept,) = rows(a["X"][:, t], a[f"W_{gate}"]), rows(h, a[f"U_{gate}"])
                return read + kept + a[f"b_{gate}"]

            if forget:
                c = sigma(net("f")) * c + sigma(net("i")) * np.tanh(net("g"))
                h = sigma(net("o")) * np.tanh(c)
            else:
                c = c + sigma(net("i")) * (4 * sigma(net("g")) - 2)
                h = sigma(net("o")) * (2 * sigma(c) - 1)
            states.append(h)
        return stacked(states)

    return run


def linear_rnn(a: Arrays) -> Array:
    h, out = a["H0"], []
    for t in range(a["X"].shape[1]):
        h = rows(h, a["W"])[0] + rows(a["X"][:, t], a["U"])[0]
        out.append(rows(h, a["C"])[0])
    return stacked(out)


def convolution(centred: bool, dilation: int) -> Callable[[Arrays], Array]:
    def run(a: Arrays) -> Array:
        batch, steps, _ = a["X"].shape
        taps, _, channels = a["W"].shape
        out = np.zeros((batch, steps, channels), np.longdouble)
        left = dilation * (taps - 1) // 2 if centred else dilation * (taps - 1)
        for b, t, c in np.ndindex(*out.shape):
            for r in range(taps):
                place = t + dilation * r - left
                if 0 <= place < steps:
                    out[b, t, c] += a["X"][b, place] @ a["W"][r, :, c]
        return out

    return run


def seq2seq(backwards: bool) -> Callable[[Arrays], Array]:
    def run(a: Arrays) -> Array:
        source = a["X"][:, ::-1] if backwards else a["X"]
        s: Array = np.zeros((len(source), len(a["U_E"])))
        for j in range(source.shape[1]):
            s = sigma(rows(source[:, j], a["W_E"])[0] + rows(s, a["U_E"])[0])
        out = []
        for t in range(a["Y"].shape[1]):
            s = sigma(rows(a["Y"][:, t], a["W_D"])[0] + rows(s, a["U_D"])[0])
            out.append(rows(s, a["C"])[0])
        return stacked(out)

    return run


def seq2seq_attention(a: Arrays) -> Array:
    (batch, length, _), hidden = a["X"].shape, len(a["U_f"])
    shown = []
    for b in range(batch):
        forwards, backwards = np.zeros((length, hidden)), np.zeros((length, hidden))
        f = r = np.zeros(hidden)
        for j in range(length):
            forwards[j] = f = np.tanh(a["W_f"] @ a["X"][b, j] + a["U_f"] @ f)
        for j in reversed(range(length)):
            backwards[j] = r = np.tanh(a["W_r"] @ a["X"][b, j] + a["U_r"] @ r)
        notes = np.concatenate([forwards, backwards], axis=1)
        U, C = np.concatenate([a["U_a"], a["T_a"]], 1), np.concatenate([a["C_f"], a["C_r"]], 1)
        s, states = np.tanh(a["W_s"] @ backwards[0]), []
        for y in a["Y"][b]:
            e = np.array([a["v"] @ np.tanh(a["W_a"] @ s + U @ note) for note in notes])
            weights = np.exp(e) / np.exp(e).sum()
            s = np.tanh(a["W"] @ y + a["U"] @ s + C @ (weights @ notes))
            states.append(s)
        shown.append(states)
    return np.array(shown)


CASES: list[tuple[str, dict[str, Any], Callable[[Arrays], Array]]] = [
    ("elman", {"activation": "logistic"}, elman(sigma)),
    ("elman", {"activation": "tanh"}, elman(np.tanh)),
    ("elman", {"activation": "relu"}, elman(lambda x: np.maximum(x, 0))),
    ("gru", {"reset": "before"}, gru(after=False)),
    ("gru", {"reset": "after"}, gru(after=True)),
    ("lstm", {"forget": True}, lstm(forget=True)),
    ("lstm", {"forget": False}, lstm(forget=False)),
    ("linear_rnn", {}, linear_rnn),
    ("convolution", {"align": "causal", "dilation": 1}, convolution(False, 1)),
    ("convolution", {"align": "causal", "dilation": 2}, convolution(False, 2)),
    ("convolution", {"align": "centred", "dilation": 1}, convolution(True, 1)),
    ("convolution", {"align": "centred", "dilation": 3}, convolution(True, 3)),
    ("seq2seq", {"source": "forward"}, seq2seq(backwards=False)),
    ("seq2seq", {"source": "reversed"}, seq2seq(backwards=True)),
    ("seq2seq_attention", {}, seq2seq_attention),
]
IDS = [" ".join([name, *map(str, choices.values())]) for name, choices, _ in CASES]


@pytest.mark.parametrize("number", ALL)
@pytest.mark.parametrize(("name", "choices", "reference"), CASES, ids=IDS)
def test_specs_are_their_papers_loops(
    name: str, choices: dict[str, Any], reference: Callable[[Arrays], Array], number: int
) -> None:
    spec = load(name, **choices)
    arrays = drawn(spec, number)
    found = computed(spec, arrays)
    verdict = found.against(spec.outputs[0], reference(arrays))
    assert verdict.status.value == "HELD", verdict.detail


@pytest.mark.parametrize(
    ("name", "choices", "wrong"),
    [
        ("gru", {"reset": "before"}, {"reset": "after"}),
        ("lstm", {"forget": True}, {"forget": False}),
        ("convolution", {"align": "causal", "dilation": 1}, {"align": "causal", "dilation": 2}),
        ("seq2seq", {"source": "forward"}, {"source": "reversed"}),
    ],
)
def test_another_convention_is_seen(
    name: str, choices: dict[str, Any], wrong: dict[str, Any]
) -> None:
    reference = next(ref for n, c, ref in CASES if n == name and c == choices)
    spec, other = load(name, **choices), load(name, **wrong)
    arrays = {**drawn(spec, 1), **drawn(other, 1)}
    kept = {e.tensor.name: arrays[e.tensor.name] for e in other.inputs}
    verdict = computed(other, kept).against(other.outputs[0], reference(arrays))
    assert verdict.status.value == "REFUTED"


def test_an_even_centred_kernel_has_its_longer_half_after_the_position() -> None:
    spec = load("convolution", align="centred", dilation=1)
    x = np.array([1.0, 2, 4, 8]).reshape(1, 4, 1)
    found = computed(spec, {"X": x, "W": np.ones((2, 1, 1))})
    np.testing.assert_array_equal(found.only.ravel(), [3, 6, 12, 8])


@pytest.mark.parametrize("number", ALL)
def test_an_lstm_with_open_forget_gates_has_the_cell_of_1997(number: int) -> None:
    """At f = 1 and after x -> x/2 inside its tanh and on its cell, only the squashings differ."""
    old, new = load("lstm", forget=False), load("lstm", forget=True)
    arrays = drawn(new, number)
    arrays |= {"W_f": 0 * arrays["W_f"], "U_f": 0 * arrays["U_f"], "b_f": 0 * arrays["b_f"] + 1e3}
    # 4 sigma(x) - 2 = 2 tanh(x / 2), 2 sigma(c) - 1 = tanh(c / 2): halve what g sees and the cell.
    halved = {n: arrays[n] / 2 for n in ("W_g", "U_g", "b_g", "C0")}
    kept = {e.tensor.name: arrays[e.tensor.name] for e in old.inputs}
    expect_equal(computed(old, kept), computed(new, {**arrays, **halved}))
