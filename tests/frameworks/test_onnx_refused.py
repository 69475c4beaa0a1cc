"""What of an ONNX node has no spec is refused, with the attribute and what to do."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.frameworks
onnx = pytest.importorskip("onnx")

import attnverify as av  # noqa: E402  what follows needs onnx
from attnverify.errors import (  # noqa: E402
    AttnverifyError,
    LoadError,
    MissingExtraError,
    ParameterError,
    ShapeError,
)
from attnverify.onnx import bind  # noqa: E402
from tests.frameworks.onnx_cases import NODES, stored  # noqa: E402

helper = onnx.helper


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def bare(op: str = "Attention", inputs: str = "Q K V", outputs: str = "Y", **told: Any) -> Any:
    names = [("" if name == "-" else name) for name in inputs.split()]
    return helper.make_node(op, names, outputs.replace("-", "").split(" "), **told)


LINEAR: dict[str, Any] = {"q_num_heads": 2, "kv_num_heads": 2}
REFUSED: dict[str, tuple[Any, dict[str, Any], str, str]] = {
    "another operator": (bare("Softmax", "x"), {}, "no spec for this operator", "of one of these"),
    "another domain": (
        helper.make_node("Attention", list("QKV"), ["Y"], domain="com.microsoft"),
        {},
        "com.microsoft.Attention",
        "ONNX's own domain",
    ),
    "no node": (3, {}, "a NodeProto, a ModelProto or a model's file", "make_node"),
    "an unknown attribute": (bare(dropout=0.1), {}, "does not define", "leave the attribute out"),
    "a window before opset 25": (
        bare(left_window_size=2),
        {"opset": 24},
        "found: left_window_size",
        "newer operator set",
    ),
    "lengths before opset 24": (
        bare(inputs="Q K V - - - n"),
        {"opset": 23},
        "more inputs than its operator set defines",
        "opset=",
    ),
    "an operator set without it": (bare(), {"opset": 22}, "Attention in opset 22", "give opset="),
    "an input too few": (bare(inputs="Q K"), {}, "lacks an input", "V"),
    "a mask of unknown type": (
        bare(inputs="Q K V keep"),
        {},
        "type of the input 'keep' (attn_mask) is not known",
        "types={'keep'",
    ),
    "a mask of whole numbers": (
        bare(inputs="Q K V keep"),
        {"types": {"keep": np.ones((2, 3), "int64")}},
        "attn_mask is boolean, or real",
        "cast the mask",
    ),
    "a mask of five axes": (
        bare(inputs="Q K V keep"),
        {"types": {"keep": np.ones((1, 1, 1, 2, 3), bool)}},
        "one to four axes",
        "reshape",
    ),
    "half a cache": (bare(inputs="Q K V - p"), {}, "past_key and past_value go together", "both"),
    "a cache and lengths": (
        bare(inputs="Q K V - p v n"),
        {},
        "nonpad_kv_seqlen does not go with past_key",
        "one of the two",
    ),
    "a present without a past": (
        bare(outputs="Y k v"),
        {},
        "present_key and present_value go with past_key",
        "leave the two outputs out",
    ),
    "heads of one side": (bare(q_num_heads=2), {}, "take both q_num_heads", "both attributes"),
    "heads that do not divide": (
        bare(q_num_heads=3, kv_num_heads=2),
        {},
        "q_num_heads is a multiple of kv_num_heads",
        "multiple of 2",
    ),
    "heads of four axes": (
        bare(q_num_heads=2, kv_num_heads=2),
        {"types": {"Q": np.ones((1, 2, 3, 4))}},
        "go with Q, K and V of three axes",
        "leave the two",
    ),
    "a cap below 0": (bare(softcap=-1.0), {}, "softcap is at least 0", "softcap=0.0"),
    "a scale below 0": (bare(scale=-1.0), {}, "scale is at least 0", "leave scale out"),
    "an unknown mode": (
        bare(outputs="Y - - S", qk_matmul_output_mode=4),
        {},
        "qk_matmul_output_mode is 0, 1, 2 or 3",
        "one of these",
    ),
    "a causal mask of 2": (bare(is_causal=2), {}, "is_causal is 0 or 1", "is_causal=0"),
    "a window of -2": (bare(left_window_size=-2), {}, "left_window_size is a number", "-1"),
    "an unknown precision": (
        bare(softmax_precision=7),
        {},
        "softmax_precision is the number of a real type",
        "11 (float64)",
    ),
    "an unknown rule": (
        bare("LinearAttention", update_rule="oja", **LINEAR),
        {},
        "an unknown update_rule",
        "gated_delta",
    ),
    "a rule without its decay": (
        bare("LinearAttention", update_rule="gated", **LINEAR),
        {},
        "update_rule='gated' needs decay",
        "give the input decay",
    ),
    "a rule with a strength too many": (
        bare("LinearAttention", "Q K V - - b", update_rule="linear", **LINEAR),
        {},
        "update_rule='linear' forbids beta",
        "leave out the input beta",
    ),
    "no heads": (bare("LinearAttention", update_rule="linear"), {}, "both numbers", "q_num_heads"),
    "a decay of unknown form": (
        bare("LinearAttention", "Q K V - g", update_rule="gated", **LINEAR),
        {},
        "last axis of the input 'g' (decay) is not known",
        "types={'g'",
    ),
    "a strength of another number of heads": (
        bare("LinearAttention", "Q K V - - b", update_rule="delta", **LINEAR),
        {"types": {"b": np.ones((1, 3, 5))}},
        "beta has one number per head, or one for all",
        "reshape",
    ),
    "a packed array of four axes": (
        bare("LinearAttention", update_rule="linear", **LINEAR),
        {"types": {"K": np.ones((1, 3, 2, 4))}},
        "key has three axes",
        "reshape",
    ),
    "an odd number of channels": (
        bare("RotaryEmbedding", "x c s p", rotary_embedding_dim=3),
        {},
        "rotary_embedding_dim is an even number",
        "even",
    ),
    "three axes without heads": (
        bare("RotaryEmbedding", "x c s p"),
        {"types": {"x": np.ones((1, 3, 8))}},
        "num_heads tells how many heads",
        "give num_heads",
    ),
    "tables of three axes with positions": (
        bare("RotaryEmbedding", "x c s p"),
        {"types": {"c": np.ones((1, 3, 4))}},
        "cos_cache has two axes with position_ids",
        "leave out position_ids",
    ),
    "two nodes": (
        helper.make_model(helper.make_graph([bare(), bare(outputs="Z")], "two", [], [])),
        {},
        "2 of them",
        "model.graph.node",
    ),
}


@pytest.mark.parametrize(("source", "how", "words", "remedy"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_mapped_is_refused_in_words(
    source: Any, how: dict[str, Any], words: str, remedy: str
) -> None:
    with pytest.raises(ParameterError) as caught:
        av.from_onnx(source, **how)
    assert words in str(caught.value)
    assert remedy in str(caught.value)


def test_a_file_that_is_no_model_is_refused() -> None:
    Path("no.onnx").write_bytes(b"no model")
    for name in ("no.onnx", "missing.onnx"):
        with pytest.raises(LoadError, match="cannot be read"):
            av.from_onnx(name)


ILL: dict[str, tuple[dict[str, Any], type[AttnverifyError], str]] = {
    "a name too few": ({"K": None}, ParameterError, "by the names that the node's inputs have"),
    "heads that do not divide the channels": (
        {"Q": np.ones((1, 2, 13), "float32")},
        ShapeError,
        "'Q' is not laid out as its node says",
    ),
}


@pytest.mark.parametrize(("changes", "error", "words"), ILL.values(), ids=ILL)
def test_arrays_that_do_not_fit_are_refused(
    changes: dict[str, Any], error: type[AttnverifyError], words: str
) -> None:
    name = "test_attention_3d_transpose_verification"
    given = {n: a for n, a in {**stored(name)[0], **changes}.items() if a is not None}
    with pytest.raises(error, match=words):
        bind(NODES[name].model).arrays(given)


def test_a_mask_of_more_keys_than_there_are_is_refused() -> None:
    name = "test_attention_4d_attn_mask"
    given = {**stored(name)[0], "attn_mask": np.zeros((4, 7), "float32")}
    with pytest.raises(ShapeError, match="at most 6 keys"):
        bind(NODES[name].model).arrays(given)


def test_one_value_as_two_inputs_cannot_be_fed_apart() -> None:
    same = bind(helper.make_node("Attention", ["x", "x", "v"], ["Y"]))
    x = np.ones((1, 1, 2, 3), "float32")
    with pytest.raises(ParameterError, match="one value of the graph is two inputs"):
        same.feeds({"Q": x, "K": x, "V": x})


def test_without_onnx_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=r"attnverify\[onnx\]"):
        av.from_onnx("model.onnx")
