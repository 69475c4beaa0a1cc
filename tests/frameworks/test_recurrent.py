"""PyTorch's layers and ONNX's reference operators are judged right, other conventions wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import attnverify as av
from attnverify.verdict import Report

pytestmark = pytest.mark.frameworks
torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def states(layer: type, weights: dict[str, Any], x: Any, *first: Any, **settings: Any) -> Any:
    """All hidden states of one layer of torch's, with the weights that the spec draws."""
    hidden, model = first[0].shape[-1], x.shape[-1]
    module = layer(model, hidden, batch_first=True, dtype=x.dtype, **settings)
    begin = tuple(h[None] for h in first)
    named = {f"{name}_l0": value for name, value in weights.items()}
    arguments = (x, begin if len(begin) > 1 else begin[0])
    return torch.func.functional_call(module, named, arguments)[0]


def rnn(kind: str) -> Callable[..., Any]:
    def run(x: Any, h: Any, w: Any, *, U: Any, bias: Any) -> Any:
        weights = {
            "weight_ih": w, "weight_hh": U, "bias_ih": bias, "bias_hh": torch.zeros_like(bias),
        }  # fmt: skip
        return states(torch.nn.RNN, weights, x, h, nonlinearity=kind)

    return run


def gru(x: Any, h: Any, W_r: Any, **a: Any) -> Any:
    zero = torch.zeros_like(a["c_n"])
    weights = {
        "weight_ih": torch.cat([W_r, a["W_z"], a["W_n"]]),
        "weight_hh": torch.cat([a["U_r"], a["U_z"], a["U_n"]]),
        "bias_ih": torch.cat([a["b_r"], a["b_z"], a["b_n"]]),
        "bias_hh": torch.cat([zero, zero, a["c_n"]]),
    }
    return states(torch.nn.GRU, weights, x, h)


def lstm(x: Any, h: Any, c: Any, **a: Any) -> Any:
    bias = torch.cat([a[f"b_{gate}"] for gate in "ifgo"])
    weights = {
        "weight_ih": torch.cat([a[f"W_{gate}"] for gate in "ifgo"]),
        "weight_hh": torch.cat([a[f"U_{gate}"] for gate in "ifgo"]),
        "bias_ih": torch.zeros_like(bias),
        "bias_hh": bias,
    }
    return states(torch.nn.LSTM, weights, x, h, c)


def convolved(x: Any, w: Any, dilation: int = 2) -> Any:
    left = dilation * (w.shape[0] - 1)
    padded = torch.nn.functional.pad(x.transpose(1, 2), (left, 0))
    found = torch.nn.functional.conv1d(padded, w.permute(2, 1, 0), dilation=dilation)
    return found.transpose(1, 2)


def convolved_same(x: Any, w: Any, dilation: int = 2) -> Any:
    weights = w.permute(2, 1, 0)
    found = torch.nn.functional.conv1d(
        x.transpose(1, 2), weights, padding="same", dilation=dilation
    )
    return found.transpose(1, 2)


RIGHT: list[tuple[Callable[..., Any], str, dict[str, Any]]] = [
    (rnn("tanh"), "elman", {"activation": "tanh"}),
    (rnn("relu"), "elman", {"activation": "relu"}),
    (gru, "gru", {"reset": "after"}),
    (lstm, "lstm", {"forget": True}),
    (convolved, "convolution", {"align": "causal", "dilation": 2}),
    (convolved_same, "convolution", {"align": "centred", "dilation": 2}),
]


@pytest.mark.parametrize("dtype", [pytest.param("float32", marks=pytest.mark.slow), "float64"])
@pytest.mark.parametrize(
    ("fn", "name", "choices"), RIGHT, ids=[f"{n} {list(c.values())}" for _, n, c in RIGHT]
)
def test_torch_layers_are_right_forward_and_backward(
    fn: Callable[..., Any], name: str, choices: dict[str, Any], dtype: str
) -> None:
    spec = av.load(name, **choices)
    report = av.check(fn, spec, framework="torch", dtypes=(dtype,), cases=12).raise_if_refuted()
    assert report.ok
    assert len(report.comparisons) == 1 + len(spec.inputs)


def swapped(x: Any, h: Any, c: Any, **a: Any) -> Any:
    """The biases of two gates in each other's place."""
    return lstm(x, h, c, **{**a, "b_i": a["b_f"], "b_f": a["b_i"]})


def unlearned(x: Any, h: Any, c: Any, **a: Any) -> Any:
    return lstm(x, h, c, **{**a, "U_f": a["U_f"].detach()})


WRONG: list[tuple[Callable[..., Any], str, dict[str, Any]]] = [
    (rnn("tanh"), "elman", {"activation": "logistic"}),
    (swapped, "lstm", {"forget": True}),
    (convolved, "convolution", {"align": "causal", "dilation": 1}),
    (convolved, "convolution", {"align": "centred", "dilation": 2}),
]


@pytest.mark.parametrize(
    ("fn", "name", "choices"), WRONG, ids=[f"{n} {list(c.values())}" for _, n, c in WRONG]
)
def test_other_conventions_are_refuted(
    fn: Callable[..., Any], name: str, choices: dict[str, Any]
) -> None:
    report = av.check(fn, av.load(name, **choices), framework="torch", cases=9)
    assert report.verdicts[0].status.value == "REFUTED"


def test_a_weight_that_gets_no_gradient_is_refuted_alone() -> None:
    report = av.check(unlearned, av.load("lstm"), framework="torch", cases=6)
    wrong = {v.name for v in report.verdicts if v.status.value == "REFUTED"}
    assert wrong == {"backward dU_f (float32)"}


# ---- ONNX's reference evaluator, forward


def evaluated(kind: str, arrays: dict[str, Any], outputs: list[str], **attributes: Any) -> Any:
    """The outputs of a model of one node."""
    from onnx.reference import ReferenceEvaluator

    helper = onnx.helper
    named = [name if array is not None else "" for name, array in arrays.items()]
    node = helper.make_node(kind, named, outputs, **attributes)
    given = {name: array for name, array in arrays.items() if array is not None}
    values = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for n, a in given.items()
    ]
    results = [helper.make_tensor_value_info(name, values[0].type.tensor_type.elem_type, None)
               for name in outputs if name]  # fmt: skip
    graph = helper.make_graph([node], "one", values, results)
    return ReferenceEvaluator(helper.make_model(graph)).run(None, given)


def packed(x: Any) -> Any:
    """(batch, heads, time, channels) as (batch, time, heads x channels)."""
    b, h, t, d = x.shape
    return x.transpose(0, 2, 1, 3).reshape(b, t, h * d)


def linear_attention(rule: str) -> Callable[..., Any]:
    def run(q: Any, k: Any, v: Any, g: Any = None, beta: Any = None) -> Any:
        b, h, t, _ = q.shape
        decay = g if g is None or g.ndim == 4 else g[..., None]
        arrays = {
            "q": packed(q), "k": packed(k), "v": packed(v), "past": None,
            "g": None if g is None else packed(decay),
            "beta": None if beta is None else packed(beta[..., None]),
        }  # fmt: skip
        found, _ = evaluated(
            "LinearAttention", arrays, ["o", "state"],
            update_rule=rule, scale=1.0, q_num_heads=h, kv_num_heads=h,
        )  # fmt: skip
        return found.reshape(b, t, h, v.shape[-1]).transpose(0, 2, 1, 3)

    return run


RULES: list[tuple[str, str, dict[str, Any]]] = [
    ("linear", "retention", {"decay": "given", "gamma": 1}),
    ("gated", "gated_linear", {}),
    ("gated", "state_space_dual", {}),
    ("delta", "delta_rule", {}),
    ("gated_delta", "gated_delta", {}),
]


def forward(report: Report) -> str:
    return next(v.status.value for v in report.verdicts if v.name.startswith("forward"))


# Recurrences of these are judged for as long as all the others together.
LONG = {"retention", "gated_linear", "state_space_dual"}


@pytest.mark.parametrize(
    ("rule", "name", "choices", "form"),
    [
        pytest.param(
            *rule, form,
            marks=pytest.mark.slow if form == "recurrent" and rule[1] in LONG else (),
            id=f"{rule[0]} {rule[1]}, {form}",
        )
        for rule in RULES
        for form in ("parallel", "recurrent")
    ],
)  # fmt: skip
def test_the_rules_of_linear_attention_are_members(
    rule: str, name: str, choices: dict[str, Any], form: str
) -> None:
    spec = av.load(name, form=form, **choices)
    report = av.check(linear_attention(rule), spec, dtypes=("float32",), cases=12)
    assert forward(report) == "HELD", report.verdicts[0].detail


def onnx_gru(after: int) -> Callable[..., Any]:
    def run(x: Any, h: Any, W_r: Any, **a: Any) -> Any:
        zero = np.zeros_like(a["b_r"])
        bias = [a["b_z"], a["b_r"], a["b_n"], zero, zero, a["c_n"] if after else zero]
        arrays = {
            "x": x.transpose(1, 0, 2),
            "w": np.concatenate([a["W_z"], W_r, a["W_n"]])[None],
            "r": np.concatenate([a["U_z"], a["U_r"], a["U_n"]])[None],
            "b": np.concatenate(bias)[None],
            "lengths": None,
            "h": h[None],
        }
        found = evaluated("GRU", arrays, ["y"], hidden_size=h.shape[-1], linear_before_reset=after)
        return found[0][:, 0].transpose(1, 0, 2)

    return run


@pytest.mark.parametrize(("after", "reset"), [(0, "before"), (1, "after")])
def test_both_places_of_the_reset_gate_are_onnxs(after: int, reset: str) -> None:
    report = av.check(onnx_gru(after), av.load("gru", reset=reset), dtypes=("float32",))
    assert forward(report) == "HELD", report.verdicts[0].detail
