"""The conventions of PyTorch's attention: what it is right by, and what it is refuted by."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import attnverify as av
from attnverify.notation import additive_bias, attention, causal, given, grouped
from attnverify.spec import Spec
from attnverify.verdict import Report, Status

pytestmark = pytest.mark.frameworks
torch = pytest.importorskip("torch")
functional = torch.nn.functional
sdpa = functional.scaled_dot_product_attention

CAUSAL = {"is_causal": True}


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def judged(fn: Callable[..., Any], spec: str | Spec, **settings: Any) -> Report:
    return av.check(fn, spec, framework="torch", **{"cases": 6, "explain": False, **settings})


def over_heads(name: str) -> Callable[..., Any]:
    """SDPA with an input that lacks the axis of heads."""

    def subject(q: Any, k: Any, v: Any, **arrays: Any) -> Any:
        return sdpa(q, k, v, attn_mask=arrays[name].unsqueeze(1))

    return subject


def masked_by_bias(q: Any, k: Any, v: Any, *, mask: Any, bias: Any) -> Any:
    return sdpa(q, k, v, attn_mask=bias.masked_fill(~mask, float("-inf")))


def from_the_last(q: Any, k: Any, v: Any) -> Any:
    """PyTorch's own words for an alignment from the last position."""
    from torch.nn.attention.bias import causal_lower_right

    return sdpa(q, k, v, attn_mask=causal_lower_right(q.shape[-2], k.shape[-2]))


# Where keys are fewer than queries, some see none; these conventions are pinned below.
MORE_KEYS = {"sizes": {"queries": [1, 3, 5], "keys": [5, 9]}}

RIGHT: dict[str, tuple[Callable[..., Any], str | Spec, dict[str, Any]]] = {
    "causal from the first position": (sdpa, "causal", {"kwargs": CAUSAL}),
    "causal from the last position": (
        from_the_last,
        av.load("causal", align="bottom_right"),
        MORE_KEYS,
    ),
    "the scale 1/sqrt(d)": (sdpa, "global", {}),
    "another scale": (
        sdpa,
        attention("sdpa", scale=0.25),
        {"kwargs": {"scale": 0.25}},
    ),
    "no dropout": (sdpa, "global", {"kwargs": {"dropout_p": 0.0}}),
    "a mask, True = keep": (sdpa, "masked", {"inputs": {"mask": "attn_mask"}}),
    "rows without keys are zeros": (
        sdpa,
        "masked",
        {"inputs": {"mask": "attn_mask"}, "empty_rows": "zeros"},
    ),
    "a mask without heads": (over_heads("mask"), attention("sdpa", mask=given(["heads"])), {}),
    "a bias without heads": (
        over_heads("bias"),
        attention("sdpa", bias=additive_bias(["heads"])),
        {},
    ),
    "a bias of minus infinity hides a key": (
        masked_by_bias,
        attention("sdpa", bias=additive_bias(), mask=given()),
        {},
    ),
    "key heads repeat in place": (sdpa, "grouped_query", {"kwargs": {"enable_gqa": True}}),
    "grouped and causal": (
        sdpa,
        attention("sdpa", heads=grouped(), mask=causal()),
        {"kwargs": {"enable_gqa": True, **CAUSAL}},
    ),
}


@pytest.mark.parametrize(("fn", "spec", "settings"), RIGHT.values(), ids=RIGHT)
@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.slow)])
def test_scaled_dot_product_attention_is_right_by(
    fn: Callable[..., Any], spec: str | Spec, settings: dict[str, Any], dtype: str
) -> None:
    report = judged(fn, spec, dtypes=(dtype,), **settings).raise_if_refuted()
    held = {v.name for v in report.verdicts if v.status is Status.HELD}
    assert held >= {f"forward O ({dtype})", *(f"backward d{n} ({dtype})" for n in "QKV")}


WRONG: dict[str, tuple[Callable[..., Any], str | Spec, dict[str, Any]]] = {
    "causal from the last position": (
        sdpa,
        av.load("causal", align="bottom_right"),
        {"kwargs": CAUSAL},
    ),
    "causal from the first position": (from_the_last, "causal", MORE_KEYS),
    "no scale": (sdpa, attention("sdpa", scale=1), {}),
    "a mask of what is hidden": (
        lambda q, k, v, *, mask: sdpa(q, k, v, attn_mask=~mask),
        "masked",
        {},
    ),
    "key heads in cycles": (
        sdpa,
        av.load("grouped_query", head_map="tile"),
        {"kwargs": {"enable_gqa": True}},
    ),
    "a bias that is scaled": (
        sdpa,
        av.load("biased", scaled=True),
        {"inputs": {"bias": "attn_mask"}},
    ),
    "rows without keys that are the mean of all values": (
        sdpa,
        "masked",
        {"inputs": {"mask": "attn_mask"}, "empty_rows": "uniform", "cases": 18},
    ),
    "rows without keys that are NaN": (
        sdpa,
        "masked",
        {"inputs": {"mask": "attn_mask"}, "empty_rows": "nan", "cases": 18},
    ),
}


@pytest.mark.parametrize(("fn", "spec", "settings"), WRONG.values(), ids=WRONG)
def test_scaled_dot_product_attention_is_refuted_by(
    fn: Callable[..., Any], spec: str | Spec, settings: dict[str, Any]
) -> None:
    forward = judged(fn, spec, **settings).verdicts[0]
    assert forward.status is Status.REFUTED
    assert forward.evidence["failing"] > 0


def layer(x_q: Any, x_k: Any, x_v: Any, *, told: Any = None, **weights: Any) -> Any:
    """torch.nn.MultiheadAttention's function with all its weights and biases as inputs.

    Its weights are (out, in), heads merged with their channels.
    """
    model, heads, _ = weights["W_Q"].shape
    projections = [weights[f"W_{n}"].reshape(model, model).T for n in "QKV"]
    biases = [weights[f"b_{n}"].reshape(model) for n in "QKV"] if "b_Q" in weights else None
    result, seen = functional.multi_head_attention_forward(
        *(x.transpose(0, 1) for x in (x_q, x_k, x_v)),
        embed_dim_to_check=model,
        num_heads=heads,
        in_proj_weight=torch.cat(projections),
        in_proj_bias=None if biases is None else torch.cat(biases),
        bias_k=None,
        bias_v=None,
        add_zero_attn=False,
        dropout_p=0.0,
        out_proj_weight=weights["W_O"].reshape(model, model).T,
        out_proj_bias=weights.get("b_O"),
        training=False,
        **{"need_weights": False, **(told or {})},
    )
    output = result.transpose(0, 1)
    return output if seen is None else (output, seen)


def with_weights(*inputs: Any, **weights: Any) -> Any:
    return layer(*inputs, told={"need_weights": True, "average_attn_weights": False}, **weights)


SIZES = {"value_dim": "key_dim", "model": "heads*key_dim"}


def test_the_layer_is_right_with_its_biases() -> None:
    report = judged(layer, "multi_head", bias=True, sizes=SIZES).raise_if_refuted()
    assert len(report.comparisons) == 12


def test_its_weights_are_those_of_each_head() -> None:
    report = judged(with_weights, "multi_head", outputs=["O", "A"], sizes=SIZES)
    assert report.raise_if_refuted().ok


def test_its_weights_are_not_their_mean_over_heads() -> None:
    def mean(*inputs: Any, **weights: Any) -> Any:
        output, seen = with_weights(*inputs, **weights)
        return output, seen.mean(1, keepdim=True).expand_as(seen)

    verdicts = judged(mean, "multi_head", outputs=["O", "A"], sizes=SIZES, cases=3).verdicts
    assert [v.status for v in verdicts[:2]] == [Status.HELD, Status.REFUTED]


def module(q: Any, k: Any, v: Any, *, heads: int, **masks: Any) -> Any:
    """The module itself with unit projections; its masks hide where they are True."""
    width = q.shape[-1]
    mha = torch.nn.MultiheadAttention(width, heads, bias=False, batch_first=True, dtype=q.dtype)
    with torch.no_grad():
        mha.in_proj_weight.copy_(torch.eye(width, dtype=q.dtype).repeat(3, 1))
        mha.out_proj.weight.copy_(torch.eye(width, dtype=q.dtype))
    return mha(q, k, v, need_weights=False, **masks)[0]


def hidden(q: Any, k: Any, v: Any, *, mask: Any) -> Any:
    return module(q, k, v, heads=2, attn_mask=~mask)


def padded(q: Any, k: Any, v: Any, *, lengths: Any) -> Any:
    beyond = torch.arange(k.shape[1]) >= lengths[:, None]
    return module(q, k, v, heads=2, key_padding_mask=beyond)


MERGED = {"layout": "b n (h d)", "sizes": {"heads": 2, "value_dim": "key_dim"}}
ONE_MASK = attention("one_mask", mask=given(["batch", "heads"]))


@pytest.mark.parametrize(
    ("fn", "spec"),
    [(hidden, ONE_MASK), (padded, "padding")],
    ids=["attn_mask, True = hide", "key_padding_mask, True = hide"],
)
def test_masks_of_the_module_hide_where_they_are_true(
    fn: Callable[..., Any], spec: str | Spec
) -> None:
    assert judged(fn, spec, **MERGED).raise_if_refuted().ok


def test_a_mask_of_the_module_that_keeps_where_it_is_true_is_refuted() -> None:
    def kept(q: Any, k: Any, v: Any, *, mask: Any) -> Any:
        return module(q, k, v, heads=2, attn_mask=mask)

    assert judged(kept, ONE_MASK, **MERGED).verdicts[0].status is Status.REFUTED
