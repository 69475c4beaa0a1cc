"""What `identify` reads off the attention of five libraries, beside a table checked by hand."""

from __future__ import annotations

import os
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

import attnverify as av
from attnverify.identify import conventions, support
from attnverify.identify.known import KNOWN
from attnverify.verdict import Report, Status

pytestmark = pytest.mark.frameworks

CASES = 4

SOFTMAX = {"normaliser": "softmax", "scale": "1/sqrt(d)", "cap": "none", "rotation": "none"}
EVERY_KEY = {**SOFTMAX, "mask": "none: every key is seen"}
CAUSAL = {**SOFTMAX, "mask": "causal: keys up to the own position"}
IN_TURN = "consecutive query heads share one"


def torch_attention() -> tuple[Any, dict[str, Any]]:
    torch = pytest.importorskip("torch")
    return torch.nn.functional.scaled_dot_product_attention, {"framework": "torch"}


def torch_causal() -> tuple[Any, dict[str, Any]]:
    fn, how = torch_attention()
    return fn, {**how, "kwargs": {"is_causal": True}}


def jax_attention() -> tuple[Any, dict[str, Any]]:
    jax = pytest.importorskip("jax")
    return jax.nn.dot_product_attention, {"framework": "jax", "layout": "b n h d"}


def jax_window() -> tuple[Any, dict[str, Any]]:
    fn, how = jax_attention()
    return fn, {**how, "kwargs": {"local_window_size": (3, 0)}}


def keras_attention() -> tuple[Any, dict[str, Any]]:
    os.environ.setdefault("KERAS_BACKEND", "jax")
    keras = pytest.importorskip("keras")
    return keras.ops.dot_product_attention, {"framework": "keras", "layout": "b n h d"}


def mlx_attention() -> tuple[Any, dict[str, Any]]:
    mx = pytest.importorskip("mlx.core")

    def attention(q: Any, k: Any, v: Any, mask: Any = None) -> Any:
        return mx.fast.scaled_dot_product_attention(q, k, v, scale=q.shape[-1] ** -0.5, mask=mask)

    return attention, {"framework": "mlx"}


def mlx_causal() -> tuple[Any, dict[str, Any]]:
    mx = pytest.importorskip("mlx.core")

    def attention(q: Any, k: Any, v: Any) -> Any:
        how = {"scale": q.shape[-1] ** -0.5, "mask": "causal"}
        return mx.fast.scaled_dot_product_attention(q, k, v, **how)

    return attention, {"framework": "mlx"}


def onnx_attention() -> tuple[Any, dict[str, Any]]:
    onnx = pytest.importorskip("onnx")
    made = onnx.helper
    node = made.make_node("Attention", ["Q", "K", "V"], ["Y"])
    kind = onnx.TensorProto.FLOAT
    inputs, (output,) = (
        [made.make_tensor_value_info(name, kind, [None] * 4) for name in names]
        for names in ("QKV", "Y")
    )
    graph = made.make_graph([node], "attention", inputs, [output])
    opset = made.make_opsetid("", 23)
    return made.make_model(graph, opset_imports=[opset], ir_version=10), {"framework": "onnx"}


# Each by its documentation: torch's `is_causal` keeps j <= i, mlx's "causal" keeps the last keys.
TABLE = {
    "torch": (torch_attention, "global", {
        **EVERY_KEY, "attn_mask of booleans": "True keeps",
        "attn_mask of numbers": "added to scaled scores", "rows without keys": "zeros",
        "key heads of query heads": "one each", "internal precision": "that of the arrays",
        "types of arrays": "float64, float32, float16, bfloat16",
    }),
    "torch, is_causal": (torch_causal, "causal", {
        **CAUSAL, "alignment": "from the first position",
    }),
    "jax": (jax_attention, "grouped_query", {
        **EVERY_KEY, "mask of booleans": "True keeps", "bias of numbers": "added to scaled scores",
        "key heads of query heads": IN_TURN,
    }),
    "jax, a window": (jax_window, "identified", {
        **SOFTMAX, "mask": "a window: the last 4 keys up to the own position",
        "alignment": "from the first position",
    }),
    "keras": (keras_attention, "grouped_query", {
        **EVERY_KEY, "mask of booleans": "True keeps", "key heads of query heads": IN_TURN,
    }),
    "mlx": (mlx_attention, "grouped_query", {
        **EVERY_KEY, "mask of booleans": "True keeps", "mask of numbers": "added to scaled scores",
        "key heads of query heads": IN_TURN, "internal precision": "float32",
    }),
    "mlx, causal": (mlx_causal, "identified", {**CAUSAL, "alignment": "from the last position"}),
    "onnx": (onnx_attention, "grouped_query", {**EVERY_KEY, "key heads of query heads": IN_TURN}),
}  # fmt: skip


# XLA compiles each shape anew.
LONG = {"jax", "keras", "jax, a window"}


@pytest.mark.parametrize(
    ("make", "name", "due"),
    [
        pytest.param(*row, marks=pytest.mark.slow if library in LONG else (), id=library)
        for library, row in TABLE.items()
    ],
)
def test_conventions_are_those_of_the_table(make: Any, name: str, due: dict[str, str]) -> None:
    fn, how = make()
    report = av.identify(fn, **how)
    found = conventions(report)
    assert {key: found.get(key) for key in due} == due
    assert report.verdicts[0].status is Status.HELD
    assert report.sections[0].spec == name
    for lines in report.sections[0].figures["notes"]:
        again = repeated(lines, fn)
        assert again.ok, [v.detail for v in again.verdicts if v.status is Status.REFUTED]
        assert again.comparisons


def repeated(lines: str, fn: Any) -> Report:
    """What the last of some lines of Python gives, on few cases: the check that they end with."""
    *made, call = lines.removeprefix("with its mask:\n").splitlines()
    names: dict[str, Any] = {"av": av, "fn": fn, getattr(fn, "__name__", "fn"): fn}
    exec("\n".join(made), names)
    names["av"] = SimpleNamespace(check=partial(av.check, cases=CASES, explain=False))
    found = eval(call, names)  # noqa: S307  as above
    assert isinstance(found, Report)
    return found


def test_libraries_stand_in_one_report_with_what_the_table_says() -> None:
    pytest.importorskip("mlx.core")
    pytest.importorskip("onnx")
    report = support(frameworks=("mlx", "onnx"))
    found = {
        section.figures["function"]: conventions(type(report)((section,)))
        for section in report.sections
    }
    assert len(found) == sum(one.framework in ("mlx", "onnx") for one in KNOWN)
    causal = found['fast.scaled_dot_product_attention(mask="causal")']
    assert {**causal, **TABLE["mlx, causal"][2]} == causal
    plain = found["Attention-23, reference evaluator"]
    assert {**plain, **TABLE["onnx"][2]} == plain
