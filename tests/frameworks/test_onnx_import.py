"""Every case that onnx generates for its operators of attention is reproduced by `from_onnx`.

The values due and their bounds come from the spec of the node alone; the values that onnx stores,
its reference evaluator's, and those of the function body that expands the node are held to them.
"""

from __future__ import annotations

import doctest
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

pytestmark = pytest.mark.frameworks
onnx = pytest.importorskip("onnx")
reference = pytest.importorskip("onnx.reference")

import attnverify as av  # noqa: E402  what follows needs onnx
from attnverify.cli import app  # noqa: E402
from attnverify.compare import same_bits  # noqa: E402
from attnverify.notation import attention, causal, grouped, within  # noqa: E402
from attnverify.onnx import bind, node, told  # noqa: E402
from attnverify.spec import Spec  # noqa: E402
from attnverify.verdict import Status  # noqa: E402
from tests.frameworks.onnx_cases import (  # noqa: E402
    CASES,
    EXPANDED,
    NODES,
    OPERATORS,
    dtype_of,
    evaluated,
    judged,
    model_of,
    operator,
    stored,
)

Array = NDArray[Any]
helper, FLOAT = onnx.helper, onnx.TensorProto.FLOAT


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


# ---- The cases of the installed package


@pytest.mark.parametrize("name", NODES)
def test_a_case_is_reproduced(name: str) -> None:
    found, inputs = judged(name), stored(name)[0]
    assert av.from_onnx(NODES[name].model) == found.bound.spec
    assert set(found.bound.outputs) == set(stored(name)[1])
    answers = {"stored": stored(name)[1], "evaluated": evaluated(NODES[name].model, inputs)}
    for other in (each for each, base in EXPANDED.items() if base == name):
        answers[other] = evaluated(CASES[other].model, inputs)
    for source, outputs in answers.items():
        for verdict in found.verdicts(outputs, dtype_of(name)):
            assert verdict.status is Status.HELD, f"{source} {verdict.name}: {verdict.detail}"


def test_every_case_is_there(record_property: Callable[[str, object], None]) -> None:
    counts = {op: sum(operator(name) == op for name in NODES) for op in OPERATORS}
    record_property("cases", counts)
    print(f"cases of onnx {onnx.__version__} reproduced: {counts}")  # noqa: T201  read with -rP
    assert counts["Attention"] >= 70
    assert counts["RotaryEmbedding"] >= 8
    assert all(base in NODES for base in EXPANDED.values())
    if onnx.__version__ == "1.23.2":
        assert counts == {"Attention": 93, "LinearAttention": 14, "RotaryEmbedding": 8}


@pytest.mark.parametrize("name", EXPANDED)
def test_an_expanded_case_has_the_data_of_its_node(name: str) -> None:
    for ours, theirs in zip(stored(name), stored(EXPANDED[name]), strict=True):
        for one, other in zip(ours.values(), theirs.values(), strict=True):
            same = same_bits(name, one, other)
            assert same.status is Status.HELD, same.detail


# ---- What would be wrong is refuted

# Attributes told otherwise than the node has them: each is another convention, which must show.
WRONG: dict[str, tuple[str, dict[str, Any], str]] = {
    "a causal mask forgotten": ("test_attention_4d_causal", {"is_causal": 0}, "Y"),
    "a causal mask too many": ("test_attention_4d_with_past_and_present", {"is_causal": 1}, "Y"),
    "another scale": ("test_attention_4d_scaled", {"scale": 0.0101}, "Y"),
    "another cap": ("test_attention_4d_softcap", {"softcap": 2.01}, "Y"),
    "no cap": ("test_attention_4d_gqa_softcap", {"softcap": 0.0}, "Y"),
    "a window one key wider": ("test_attention_local_window", {"left_window_size": 3}, "Y"),
    "a window open to the right": (
        "test_attention_bidirectional_window",
        {"right_window_size": -1},
        "Y",
    ),
    "scores before the cap": (
        "test_attention_4d_with_qk_matmul_softcap",
        {"qk_matmul_output_mode": 0},
        "qk_matmul_output",
    ),
    "scores without the bias": (
        "test_attention_4d_with_qk_matmul_bias",
        {"qk_matmul_output_mode": 1},
        "qk_matmul_output",
    ),
    "scores in place of weights": (
        "test_attention_4d_with_qk_matmul_softmax",
        {"qk_matmul_output_mode": 2},
        "qk_matmul_output",
    ),
    "halves for neighbours": ("test_rotary_embedding", {"interleaved": 1}, "output"),
    "neighbours for halves": ("test_rotary_embedding_interleaved", {"interleaved": 0}, "output"),
    "neighbours for halves, of some channels": (
        "test_rotary_embedding_with_interleaved_rotary_dim",
        {"interleaved": 0},
        "output",
    ),
    "another scale of a state": (
        "test_linear_attention_explicit_scale",
        {"scale": 0.2501},
        "output",
    ),
}


@pytest.mark.parametrize(("name", "changes", "output"), WRONG.values(), ids=WRONG)
def test_another_convention_is_refuted(name: str, changes: dict[str, Any], output: str) -> None:
    verdicts = judged(name, **changes).verdicts(stored(name)[1], dtype_of(name))
    assert {v.name: v.status for v in verdicts}[output] is Status.REFUTED


UNTRUE: dict[str, tuple[str, str, Callable[[Array], Array]]] = {
    "the polarity of a mask": ("test_attention_4d_attn_mask_bool", "mask", np.logical_not),
    "one key fewer": (
        "test_attention_4d_causal_nonpad_batch_prefill",
        "lengths",
        lambda lengths: lengths - 1,
    ),
    "positions one later": ("test_rotary_embedding", "position_ids", lambda ids: (ids + 1) % 50),
    "columns of another pair": (
        "test_rotary_embedding_no_position_ids",
        "sin",
        lambda table: table[..., ::-1],
    ),
    "a state that begins with zeros": ("test_linear_attention_decode_step", "M_0", np.zeros_like),
    "no decay": ("test_linear_attention_gated", "g", np.zeros_like),
    "strengths of the next step": (
        "test_linear_attention_delta",
        "beta",
        lambda beta: np.roll(beta, 1, -1),
    ),
}


@pytest.mark.parametrize(("name", "tensor", "change"), UNTRUE.values(), ids=UNTRUE)
def test_other_arrays_are_refuted(name: str, tensor: str, change: Callable[[Array], Array]) -> None:
    found = judged(name)
    changed = replace(found, arrays={**found.arrays, tensor: change(found.arrays[tensor])})
    assert changed.verdicts(stored(name)[1], dtype_of(name))[0].status is Status.REFUTED


def from_the_last_key() -> Spec:
    mask = causal("bottom_right") & within(2, None, "bottom_right")
    found = attention("onnx_attention", mask=mask, cache=True)
    return found.replace(outputs=("O", "K_all", "V_all"))


OTHER: dict[str, tuple[str, Callable[[], Spec]]] = {
    "a diagonal from the last key, where fewer keys than queries are new": (
        "test_attention_local_window_with_past",
        from_the_last_key,
    ),
    "key heads in cycles": (
        "test_attention_4d_gqa",
        lambda: attention("onnx_attention", heads=grouped("tile")),
    ),
}


@pytest.mark.parametrize(("name", "spec"), OTHER.values(), ids=OTHER)
def test_another_spec_is_refuted(name: str, spec: Callable[[], Spec]) -> None:
    found = judged(name)
    changed = replace(found, bound=replace(found.bound, spec=spec()))
    assert changed.verdicts(stored(name)[1], dtype_of(name))[0].status is Status.REFUTED


def test_a_narrower_softmax_is_told_apart_and_may_be_declared() -> None:
    name = "test_attention_4d"
    half = {"softmax_precision": onnx.TensorProto.FLOAT16}
    got, found = evaluated(model_of(name, **half), stored(name)[0]), judged(name, **half)
    assert found.bound.internal == "float16"
    assert "softmax in float16" in found.bound.spec.description
    assert found.verdicts(got, "float32")[0].status is Status.REFUTED
    assert found.verdicts(got, "float32", found.bound.internal)[0].status is Status.HELD


VERIFIED = [
    "test_attention_3d_with_past_and_present_qk_matmul_bias",
    "test_attention_local_window_gqa_rank4_mask",
    "test_linear_attention_gated_delta_gqa",
    "test_rotary_embedding_with_interleaved_rotary_dim",
]


@pytest.mark.parametrize("name", VERIFIED)
def test_the_spec_of_a_node_verifies(name: str) -> None:
    assert av.verify(av.from_onnx(NODES[name].model), examples=2).ok


@pytest.mark.slow
@pytest.mark.parametrize("name", NODES)
def test_each_spec_of_a_node_verifies(name: str) -> None:
    assert av.verify(av.from_onnx(NODES[name].model), examples=4).ok


# ---- A model is checked against the spec of its node, with nothing else to tell

CHECKED = [
    "test_attention_3d_with_past_and_present_qk_matmul_bias",
    "test_attention_4d_causal_nonpad_batch_prefill",
    "test_attention_local_window_gqa_rank4_mask",
    "test_attention_local_window_ext_cache_rank3_head_mask",
    "test_linear_attention_gated_delta_gqa",
    "test_linear_attention_gated_delta_beta_scalar",
    "test_linear_attention_prefill_with_past",
    "test_rotary_embedding_3d_input",
    "test_rotary_embedding_no_position_ids_rotary_dim",
]


@pytest.mark.parametrize("name", CHECKED)
def test_a_model_is_checked_against_the_spec_of_its_node(name: str) -> None:
    model = NODES[name].model
    report = av.check(model, av.from_onnx(model), framework="onnx", cases=6, explain=False)
    assert report.raise_if_refuted().ok
    forward = [v for v in report.verdicts if v.name.startswith("forward")]
    assert len(forward) == len(model.graph.output)
    assert {v.status for v in forward} == {Status.HELD}


SPOILT: dict[str, tuple[str, dict[str, Any]]] = {
    "a window": ("test_attention_3d_local_window", {"left_window_size": 1}),
    "a cap": ("test_attention_3d_softcap", {"softcap": 1.9}),
    "an update rule": ("test_linear_attention_linear", {"scale": 1.0}),
    "a pairing": ("test_rotary_embedding_3d_input", {"interleaved": 1}),
}


@pytest.mark.parametrize(("name", "changes"), SPOILT.values(), ids=SPOILT)
def test_a_model_of_another_node_is_refuted(name: str, changes: dict[str, Any]) -> None:
    right, model = bind(NODES[name].model), model_of(name, **changes)
    how: dict[str, Any] = {"framework": "onnx", "cases": 6, "explain": False}
    report = av.check(model, right.spec, layout=right.layout, **how)
    assert report.verdicts[0].status is Status.REFUTED


HEADS: dict[str, Any] = {"q_num_heads": 4, "kv_num_heads": 2}
BARE: dict[str, tuple[list[str], str, dict[str, Any], dict[str, Any]]] = {
    "causal": (["Q", "K", "V"], "Attention", {"is_causal": 1}, {}),
    "other names": (["q", "k", "v"], "Attention", {**HEADS, "softcap": 2.0}, {}),
    "a boolean mask": (["q", "k", "v", "m"], "Attention", {}, {"m": np.ones((4, 6), bool)}),
    "a real mask": (["q", "k", "v", "m"], "Attention", HEADS, {"m": np.ones((2, 1, 4, 6))}),
    "lengths": (["q", "k", "v", "", "", "", "n"], "Attention", {"is_causal": 1}, {}),
    "a decay per head": (
        ["q", "k", "v", "", "g"],
        "LinearAttention",
        {**HEADS, "update_rule": "gated"},
        {"g": np.ones((1, 3, 2))},
    ),
    "a decay per channel, a shared strength": (
        ["q", "k", "v", "", "g", "b"],
        "LinearAttention",
        HEADS,
        {"g": np.ones((1, 3, 8)), "b": np.ones((1, 3, 1))},
    ),
    "positions": (["x", "c", "s", "p"], "RotaryEmbedding", {"num_heads": 2}, {}),
}


@pytest.mark.parametrize(("inputs", "op", "told", "types"), BARE.values(), ids=BARE)
def test_a_bare_node_is_checked(
    inputs: list[str], op: str, told: dict[str, Any], types: dict[str, Any]
) -> None:
    outputs = ["y", "state"] if op == "LinearAttention" else ["y"]
    bare = helper.make_node(op, inputs, outputs, **told)
    spec = av.from_onnx(bare, types=types)
    report = av.check(bare, spec, framework="onnx", cases=6, explain=False)
    assert {v.status for v in report.verdicts[: len(outputs)]} == {Status.HELD}


def test_a_model_is_checked_in_a_process_of_its_own(tmp_path: Path) -> None:
    model = NODES["test_attention_3d_gqa"].model
    onnx.save(model, tmp_path / "model.onnx")
    report = av.check(
        str(tmp_path / "model.onnx"),
        av.from_onnx(tmp_path / "model.onnx"),
        framework="onnx",
        cases=4,
        explain=False,
        isolate=True,
    )
    assert report.verdicts[0].status is Status.HELD


@pytest.mark.slow
def test_the_path_of_a_model_goes_where_a_name_goes() -> None:
    model = NODES["test_attention_3d_gqa_causal"].model
    onnx.save(model, "model.onnx")
    assert av.load("model.onnx") == av.from_onnx(model)
    assert av.load("model.onnx", outputs="A").outputs == ("A",)
    told = ["check", "model.onnx", "--spec", "model.onnx", "--cases", "4"]
    assert CliRunner().invoke(app, told).exit_code == 0
    onnx.save(model_of("test_attention_3d_gqa_causal", is_causal=0), "other.onnx")
    assert CliRunner().invoke(app, [*told[:3], "other.onnx", *told[4:]]).exit_code == 1
    assert CliRunner().invoke(app, [*told[:3], "missing.onnx"]).exit_code == 2


def test_the_examples_of_the_package_are_true() -> None:
    from attnverify import onnx as package

    assert [doctest.testmod(module).failed for module in (package, node, told)] == [0, 0, 0]
