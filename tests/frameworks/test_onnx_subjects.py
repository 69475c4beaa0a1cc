"""ONNX models and nodes as subjects, by the reference evaluator and by onnxruntime."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import attnverify as av
from attnverify.cli import app
from attnverify.errors import MissingExtraError, ParameterError, SubjectError
from attnverify.verdict import Report, Status
from tests.test_check import right_vjp

pytestmark = pytest.mark.frameworks
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
helper, FLOAT = onnx.helper, onnx.TensorProto.FLOAT
RUNNERS = ("onnx", "onnxruntime")


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def node(outputs: tuple[str, ...] = ("Y",), inputs: str = "QKV", **attributes: Any) -> Any:
    return helper.make_node("Attention", list(inputs), list(outputs), **attributes)


def tensor(name: str, kind: int = FLOAT, rank: int = 4) -> Any:
    return helper.make_tensor_value_info(name, kind, [f"{name}{axis}" for axis in range(rank)])


def model(nodes: list[Any], inputs: list[Any], outputs: list[Any], stored: Any = ()) -> Any:
    graph = helper.make_graph(nodes, "attention", inputs, outputs, list(stored))
    opset = helper.make_opsetid("", 23)
    return helper.make_model(graph, opset_imports=[opset], ir_version=10)


QKV = [tensor(name) for name in ("query", "key", "value")]
MODEL = model(
    [helper.make_node("Attention", ["query", "key", "value"], ["out"])], QKV, [tensor("out")]
)


def judged(fn: Any, spec: str = "global", framework: str = "onnx", **settings: Any) -> Report:
    return av.check(fn, spec, framework=framework, **{"cases": 8, "explain": False, **settings})


WEIGHTS: dict[str, Any] = {"qk_matmul_output_mode": 3}
RIGHT: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "a node": (node(), "global", {}),
    "a model": (MODEL, "global", {}),
    "inputs by name": (MODEL, "global", {"inputs": {"Q": "query", "K": "key", "V": "value"}}),
    "outputs by name": (
        node(("Y", "", "", "W"), is_causal=1, **WEIGHTS),
        "causal",
        {"outputs": {"A": "W", "O": "Y"}},
    ),
    "outputs by position": (
        node(("Y", "", "", "W"), is_causal=1, **WEIGHTS),
        "causal",
        {"outputs": {"A": 1, "O": 0}},
    ),
    "outputs in order": (node(("Y", "", "", "W"), **WEIGHTS), "global", {"outputs": ["O", None]}),
    "a mask": (
        helper.make_node("Attention", ["Q", "K", "V", "keep"], ["Y"]),
        "masked",
        {"inputs": {"mask": "keep"}},
    ),
    "shared keys": (node(), "grouped_query", {}),
    "the names of the spec in another order": (
        model([node()], [tensor(name) for name in "VKQ"], [tensor("Y")]),
        "global",
        {},
    ),
}


@pytest.mark.parametrize("framework", RUNNERS)
@pytest.mark.parametrize(("fn", "spec", "settings"), RIGHT.values(), ids=RIGHT)
def test_attention_is_right(fn: Any, spec: str, settings: dict[str, Any], framework: str) -> None:
    report = judged(fn, spec, framework, **settings).raise_if_refuted()
    forward = [v for v in report.verdicts if v.name.startswith("forward")]
    judged_outputs = [name for name in settings.get("outputs", ["O"]) if name]
    assert [v.name for v in forward] == [f"forward {name} (float32)" for name in judged_outputs]
    assert {v.status for v in forward} == {Status.HELD}
    assert f"{framework} has no autodiff" in report.verdicts[-1].detail
    assert report.environment[framework]


def test_the_reference_evaluator_is_right_in_float64_and_onnxruntime_is_not() -> None:
    assert judged(node(), dtypes=("float64", "float16")).raise_if_refuted().ok
    found = judged(node(), framework="onnxruntime", dtypes=("float64",)).verdicts[0]
    assert found.status is Status.REFUTED
    assert "float32 arithmetic inside float64" in found.detail
    how: dict[str, Any] = {
        "framework": "onnxruntime",
        "dtypes": ("float64",),
        "internal": "float32",
    }
    assert judged(node(), **how).raise_if_refuted().ok


def test_the_reference_evaluator_adds_bfloat16_in_bfloat16() -> None:
    found = judged(node(), dtypes=("bfloat16",)).verdicts[0]
    assert found.status is Status.REFUTED


def test_a_given_vjp_is_judged() -> None:
    report = judged(node(), vjp=right_vjp).raise_if_refuted()
    assert [v.status for v in report.comparisons] == [Status.HELD] * 4


CAST = helper.make_node("Cast", ["y"], ["Y"], to=onnx.TensorProto.DOUBLE)
FIRST = [
    helper.make_node("Gather", ["y", "zero"], ["Y"], axis=0),
]
ZERO = onnx.numpy_helper.from_array(np.array(0), "zero")
NAMED = [tensor(name) for name in "QKV"]
WRONG: dict[str, tuple[Any, str]] = {
    "a scale that is 1": (node(scale=1.0), "entries fail; first wrong entry"),
    "another type": (
        model([node(("y",)), CAST], NAMED, [tensor("Y", onnx.TensorProto.DOUBLE)]),
        "dtype float64, due float32",
    ),
    "another shape": (
        model([node(("y",)), *FIRST], NAMED, [tensor("Y", rank=3)], [ZERO]),
        "due (1, 1, 1, 1) (b h n d)",
    ),
    "values and keys exchanged": (node(inputs="QVK"), ", due "),
    "one output too many": (node(("Y", "", "", "W")), "returned 2 values, due 1: O"),
}


@pytest.mark.parametrize("framework", RUNNERS)
@pytest.mark.parametrize(("fn", "words"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_refuted_in_words(fn: Any, words: str, framework: str) -> None:
    forward = judged(fn, framework=framework).verdicts[0]
    assert forward.status is Status.REFUTED
    assert words in forward.detail


def test_an_output_that_the_model_lacks_is_told() -> None:
    forward = judged(node(), outputs={"O": "out"}).verdicts[0]
    assert "a mapping without out" in forward.detail


REFUSED: dict[str, tuple[Any, dict[str, Any], type[Exception], str]] = {
    "no model": (3, {}, SubjectError, "a file, a ModelProto or a NodeProto"),
    "no file": ("missing.onnx", {}, SubjectError, "cannot be read"),
    "no operator": (helper.make_node("Attenshun", list("QKV"), ["Y"]), {}, SubjectError, "no such"),
    "an unknown input": (node(), {"inputs": {"Q": "query"}}, SubjectError, "none is named query"),
    "an input too few": (node(inputs="QK"), {}, SubjectError, "none is named V"),
    "an input too few, by position": (
        helper.make_node("Attention", ["query", "key"], ["Y"]),
        {},
        SubjectError,
        "given 3 by position",
    ),
    "another type": (MODEL, {"dtypes": ("float64",)}, SubjectError, "query in float32, not in"),
    "a device": (node(), {"device": "cuda"}, ParameterError, "lie on the CPU"),
    "no such runner type": (
        node(),
        {"framework": "onnxruntime", "dtypes": ("bfloat16",)},
        ParameterError,
        "no bfloat16",
    ),
    "an operator that onnxruntime lacks": (
        helper.make_node("Attention", list("QKV"), ["Y"], domain="ai.none"),
        {},
        SubjectError,
        "no such operator",
    ),
}


@pytest.mark.parametrize(("fn", "settings", "error", "words"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_run_is_refused_in_words(
    fn: Any, settings: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        judged(fn, **settings)


def test_integers_take_the_type_that_the_graph_declares() -> None:
    lengths = tensor("lengths", onnx.TensorProto.INT32, rank=1)
    axes = onnx.numpy_helper.from_array(np.array([1, 2, 3]), "axes")
    parts = [
        helper.make_node("Shape", ["K"], ["n"], start=2, end=3),
        helper.make_node("Squeeze", ["n"], ["count"]),
        helper.make_node("Range", ["start", "count", "step"], ["j"]),
        helper.make_node("Cast", ["j"], ["j32"], to=onnx.TensorProto.INT32),
        helper.make_node("Unsqueeze", ["lengths", "axes"], ["each"]),
        helper.make_node("Less", ["j32", "each"], ["keep"]),
        helper.make_node("Attention", ["Q", "K", "V", "keep"], ["Y"]),
    ]
    stored = [
        axes,
        onnx.numpy_helper.from_array(np.array(0), "start"),
        onnx.numpy_helper.from_array(np.array(1), "step"),
    ]
    padded = model(parts, [*NAMED, lengths], [tensor("Y")], stored)
    assert judged(padded, "padding").raise_if_refuted().verdicts[0].status is Status.HELD


def test_a_model_file_is_judged_from_the_command_line(tmp_path: Path) -> None:
    onnx.save(MODEL, tmp_path / "attention.onnx")
    told = ["check", "attention.onnx", "--spec", "global", "--cases", "4"]
    assert CliRunner().invoke(app, told).exit_code == 0
    wrong = CliRunner().invoke(app, [*told[:3], "causal", *told[4:], "--framework", "onnxruntime"])
    assert wrong.exit_code == 1
    assert "attnverify check attention.onnx --spec causal --framework onnxruntime" in " ".join(
        wrong.output.split()
    )


@pytest.mark.parametrize(
    ("framework", "module"), [("onnx", "onnx"), ("onnxruntime", "onnxruntime")]
)
def test_without_its_package_the_extra_is_named(
    framework: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, "attnverify.subjects.onnx", raising=False)
    with pytest.raises(MissingExtraError, match=r"attnverify\[onnx\]"):
        judged(MODEL, framework=framework)
