"""Subjects of every other framework in a process of their own: the verdicts of this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import attnverify as av
from attnverify.errors import ParameterError, SubjectError
from attnverify.notation import attention, key_lengths, query_lengths
from attnverify.verdict import Report, Status
from tests.frameworks import apart

pytestmark = pytest.mark.frameworks

SIZES = {"batch": 1, "heads": 2, "queries": 3, "keys": 3, "key_dim": 2, "value_dim": 2}
PACKED = attention("packed", mask=query_lengths() & key_lengths())


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def statuses(report: Report) -> dict[str, str]:
    return {verdict.name: verdict.status.value for verdict in report.verdicts}


def judged(fn: Any, spec: Any = "global", **settings: Any) -> dict[str, str]:
    """The verdicts there, which are those here."""
    how: dict[str, Any] = {"cases": 3, "sizes": SIZES, **settings}
    there = statuses(av.check(fn, spec, isolate=True, **how))
    assert there == statuses(av.check(fn, spec, **how))
    return there


def attention_model(path: str) -> Any:
    """A model of one Attention node, saved."""
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    ends = [
        helper.make_tensor_value_info(name, kind, [f"{name}{axis}" for axis in range(4)])
        for name in ("query", "key", "value", "out")
    ]
    node = helper.make_node("Attention", ["query", "key", "value"], ["out"])
    graph = helper.make_graph([node], "attention", ends[:3], ends[3:])
    opset = helper.make_opsetid("", 23)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=10)
    onnx.save(model, path)
    return model


@pytest.mark.parametrize("framework", ["onnx", "onnxruntime"])
def test_a_model_is_isolated_by_its_path(framework: str) -> None:
    pytest.importorskip(framework)
    attention_model("attention.onnx")
    how: dict[str, Any] = {"framework": framework, "outputs": {"O": "out"}}
    assert judged(Path("attention.onnx"), **how)["forward O (float32)"] == "HELD"
    assert judged("attention.onnx", "causal", **how)["forward O (float32)"] == "REFUTED"


def test_a_model_in_memory_has_no_path() -> None:
    model = attention_model("attention.onnx")
    with pytest.raises(SubjectError, match="isolated by its path"):
        av.check(model, "global", framework="onnx", isolate=True)


def test_what_a_framework_lacks_is_told_and_not_judged() -> None:
    pytest.importorskip("onnxruntime")
    attention_model("attention.onnx")
    how: dict[str, Any] = {"framework": "onnxruntime", "dtypes": ("bfloat16",), "isolate": True}
    with pytest.raises(ParameterError, match="takes no bfloat16"):
        av.check("attention.onnx", "global", **how)


OTHERS = [
    ("keras", "keras", apart.keras_unscaled, "REFUTED"),
    ("mlx", "mlx", apart.mlx_right, "HELD"),
    ("array_api", "array_api:torch", apart.standard_right, "HELD"),
    ("torch", "torch", apart.torch_right, "HELD"),
]


@pytest.mark.parametrize(
    ("package", "framework", "fn", "status"),
    [
        # Keras, each time in a process that starts JAX, takes as long as the rest
        pytest.param(*other, marks=pytest.mark.slow if other[0] == "keras" else (), id=other[1])
        for other in OTHERS
    ],
)
def test_functions_are_isolated_by_their_names(
    package: str, framework: str, fn: Any, status: str
) -> None:
    pytest.importorskip("array_api_compat" if package == "array_api" else package)
    device = "cpu" if framework == "torch" else ""
    found = judged(fn, "causal", framework=framework, device=device)
    assert found["forward O (float32)"] == status


def test_packed_sequences_are_laid_out_before_they_go() -> None:
    pytest.importorskip("torch")
    found = av.check(
        apart.torch_packed_leak,
        PACKED,
        framework="torch",
        layout="(b n) h d",
        packed={"queries": "query_lengths", "keys": "lengths"},
        inputs={"query_lengths": "cu_q", "lengths": "cu_k"},
        empty_rows="zeros",
        cases=6,
        isolate=True,
        explain=False,
    )
    forward = found.verdicts[0]
    assert forward.status is Status.REFUTED
    # It was asked in its own layout and answered in it: it is wrong in its values alone.
    assert "first wrong entry" in forward.detail


def test_a_device_that_is_lacking_is_told() -> None:
    pytest.importorskip("torch")
    with pytest.raises(ParameterError, match="a device that PyTorch does not have"):
        av.check(apart.torch_right, "causal", framework="torch", device="nowhere", isolate=True)
