"""PyTorch's own attention is judged right, and each of its mutants wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import attnverify as av
from attnverify.errors import ParameterError
from attnverify.verdict import Report, Status
from tests.test_types import EIGHT, SPEC

pytestmark = pytest.mark.frameworks
torch = pytest.importorskip("torch")
functional = torch.nn.functional
sdpa = functional.scaled_dot_product_attention


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def judged(fn: Callable[..., Any], spec: str, **settings: Any) -> Report:
    return av.check(fn, spec, framework="torch", explain=False, **settings)


def statuses(report: Report) -> dict[str, str]:
    return {verdict.name: verdict.status.value for verdict in report.comparisons}


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
def test_scaled_dot_product_attention_is_right_in_every_dtype(dtype: str) -> None:
    report = judged(sdpa, "global", dtypes=(dtype,)).raise_if_refuted()
    assert statuses(report) == {
        f"forward O ({dtype})": "HELD",
        f"backward dQ ({dtype})": "HELD",
        f"backward dK ({dtype})": "HELD",
        f"backward dV ({dtype})": "HELD",
    }


RIGHT: list[tuple[str, dict[str, Any]]] = [
    ("causal", {"kwargs": {"is_causal": True}}),
    ("cross", {}),
    ("grouped_query", {"kwargs": {"enable_gqa": True}}),
    ("masked", {"inputs": {"mask": "attn_mask"}, "empty_rows": "zeros"}),
    ("biased", {"inputs": {"bias": "attn_mask"}}),
]


@pytest.mark.parametrize(("spec", "settings"), RIGHT, ids=[spec for spec, _ in RIGHT])
def test_its_variants_are_right(spec: str, settings: dict[str, Any]) -> None:
    report = judged(sdpa, spec, **settings).raise_if_refuted()
    assert all((verdict.cases or 0) >= 24 for verdict in report.comparisons)


def test_its_math_backend_is_right() -> None:
    from torch.nn.attention import SDPBackend, sdpa_kernel

    def math(q: Any, k: Any, v: Any) -> Any:
        with sdpa_kernel(SDPBackend.MATH):
            return sdpa(q, k, v)

    assert judged(math, "global").raise_if_refuted().ok


def weights(q: Any, k: Any, scale: float = 1.0) -> Any:
    return (q @ k.transpose(-1, -2) * (scale / q.shape[-1] ** 0.5)).softmax(-1)


def written_out(q: Any, k: Any, v: Any) -> Any:
    s = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    e = (s - s.max(-1, keepdim=True).values).exp()
    return e / e.sum(-1, keepdim=True) @ v


def by_log_sum_exp(q: Any, k: Any, v: Any) -> Any:
    s = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    return (s - s.logsumexp(-1, keepdim=True)).exp() @ v


@pytest.mark.parametrize("fn", [written_out, by_log_sum_exp])
def test_other_ways_to_write_a_softmax_are_right(fn: Callable[..., Any]) -> None:
    assert judged(fn, "global").raise_if_refuted().ok


def in_float32(q: Any, k: Any, v: Any) -> Any:
    return (weights(q.float(), k.float()) @ v.float()).to(q.dtype)


def test_float32_inside_float64_is_named_and_may_be_declared() -> None:
    report = judged(in_float32, "global", dtypes=("float64",), cases=9)
    assert "float32 arithmetic inside float64" in report.verdicts[0].detail
    declared = judged(in_float32, "global", dtypes=("float64",), internal="float32")
    assert declared.raise_if_refuted().ok


def off_scale(q: Any, k: Any, v: Any) -> Any:
    return weights(q, k, 1.01) @ v


def last_key_dropped(q: Any, k: Any, v: Any) -> Any:
    n = max(1, k.shape[-2] - 1)
    return weights(q, k[..., :n, :]) @ v[..., :n, :]


def one_key_leaks(q: Any, k: Any, v: Any) -> Any:
    s = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    keep = torch.ones(s.shape[-2:], dtype=torch.bool).tril()
    if s.shape[-1] > s.shape[-2] // 2 + 1:
        keep[s.shape[-2] // 2, s.shape[-2] // 2 + 1] = True
    return s.masked_fill(~keep, float("-inf")).softmax(-1) @ v


def narrow_sum(q: Any, k: Any, v: Any) -> Any:
    return weights(q.bfloat16(), k.bfloat16()).float() @ v


FORWARD = [
    (off_scale, "global"),
    (last_key_dropped, "global"),
    (one_key_leaks, "causal"),
    (narrow_sum, "global"),
]


@pytest.mark.parametrize(("fn", "spec"), FORWARD, ids=[fn.__name__ for fn, _ in FORWARD])
def test_forward_mutants_are_refuted(fn: Callable[..., Any], spec: str) -> None:
    assert statuses(judged(fn, spec, cases=9))["forward O (float32)"] == "REFUTED"


class _Wrong(torch.autograd.Function):  # type: ignore[misc,name-defined]  # torch is Any here
    """Right outputs, and a backward pass with one fault, by name."""

    fault = ""

    @staticmethod
    def forward(ctx: Any, q: Any, k: Any, v: Any) -> Any:
        a = weights(q, k)
        ctx.save_for_backward(q, k, v, a)
        return a @ v

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> tuple[Any, ...]:
        q, k, v, a = ctx.saved_tensors
        (d_out,) = cotangents
        scale = q.shape[-1] ** -0.5
        d_a = d_out @ v.transpose(-1, -2)
        row = (d_a * a).sum(-1, keepdim=True)
        d_s = a * (d_a - (0 if _Wrong.fault == "row term" else row))
        kept = d_s.clone()
        if _Wrong.fault == "missing row":
            kept[..., -1, :] = 0
        d_k = kept.transpose(-1, -2) @ q * scale
        d_v = a.detach() if _Wrong.fault != "uniform" else torch.full_like(a, 1 / a.shape[-1])
        return (
            d_s @ k * (1.0 if _Wrong.fault == "unscaled" else scale),
            -d_k if _Wrong.fault == "sign" else d_k,
            d_v.transpose(-1, -2) @ d_out,
        )


BACKWARD = [
    ("", set()),
    ("row term", {"dQ", "dK"}),
    ("missing row", {"dK"}),
    ("sign", {"dK"}),
    ("unscaled", {"dQ"}),
    ("uniform", {"dV"}),
]


@pytest.mark.parametrize(("fault", "wrong"), BACKWARD, ids=[name or "none" for name, _ in BACKWARD])
def test_backward_mutants_are_refuted_where_they_are_wrong(
    fault: str, wrong: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Wrong, "fault", fault)
    found = judged(_Wrong.apply, "global", cases=9)
    refuted = {v.name.split()[1] for v in found.verdicts if v.status is Status.REFUTED}
    assert refuted == wrong


def detached(q: Any, k: Any, v: Any) -> Any:
    return sdpa(q, k, v.detach())


def changes_an_input(q: Any, k: Any, v: Any) -> Any:
    result = sdpa(q, k, v)
    q.mul_(2)
    return result


def of_another_type(q: Any, k: Any, v: Any) -> Any:
    return sdpa(q, k, v).double()


def without_a_batch(q: Any, k: Any, v: Any) -> Any:
    return sdpa(q, k, v)[0]


def no_tensor(q: Any, k: Any, v: Any) -> Any:
    return sdpa(q, k, v).tolist()


FAULTS = [
    (detached, "backward dV (float32)", "the subject gave nothing"),
    (changes_an_input, "forward O (float32)", "changed its input Q in place"),
    (of_another_type, "forward O (float32)", "dtype float64, due float32"),
    (without_a_batch, "forward O (float32)", "shape (1, 1, 1), due (1, 1, 1, 1)"),
    (no_tensor, "forward O (float32)", "returned a builtins.list for O, due a torch.Tensor"),
]


@pytest.mark.parametrize(("fn", "name", "words"), FAULTS, ids=[fn.__name__ for fn, _, _ in FAULTS])
def test_faults_of_form_are_refuted_in_words(fn: Callable[..., Any], name: str, words: str) -> None:
    verdict = next(v for v in judged(fn, "global", cases=9).verdicts if v.name == name)
    assert verdict.status is Status.REFUTED
    assert words in verdict.detail


HEADS = 2


def multi_head(q: Any, k: Any, v: Any) -> Any:
    """Unit projections around torch.nn.MultiheadAttention: heads merged into one axis."""
    heads, width = HEADS, q.shape[-1]
    layer = torch.nn.MultiheadAttention(width, heads, bias=False, batch_first=True, dtype=q.dtype)
    with torch.no_grad():
        layer.in_proj_weight.copy_(torch.eye(width, dtype=q.dtype).repeat(3, 1))
        layer.out_proj.weight.copy_(torch.eye(width, dtype=q.dtype))
    return layer(q, k, v, need_weights=False)[0]


def test_multihead_attention_is_right_through_a_wrapper() -> None:
    sizes = {"heads": HEADS, "value_dim": "key_dim"}
    report = judged(multi_head, "global", layout="b n (h d)", sizes=sizes)
    assert report.raise_if_refuted().ok
    assert len(report.comparisons) == 4


def layer(x_q: Any, x_k: Any, x_v: Any, *, W_Q: Any, W_K: Any, W_V: Any, W_O: Any) -> Any:
    """Torch's whole layer with the weights that the spec draws: model = heads x key_dim."""
    model, heads, _ = W_Q.shape
    flat = [w.reshape(model, model).T for w in (W_Q, W_K, W_V)]
    result, _ = functional.multi_head_attention_forward(
        x_q.transpose(0, 1), x_k.transpose(0, 1), x_v.transpose(0, 1), model, heads,
        torch.cat(flat), None, None, None, False, 0.0, W_O.reshape(model, model).T, None,
        training=False, need_weights=False,
    )  # fmt: skip
    return result.transpose(0, 1)


def test_the_whole_layer_is_right_forward_and_backward() -> None:
    sizes = {"value_dim": "key_dim", "model": "heads*key_dim"}
    report = judged(layer, "multi_head", sizes=sizes).raise_if_refuted()
    assert len(report.comparisons) == 8


def test_a_keyword_that_the_function_lacks_is_told_in_words() -> None:
    from attnverify.errors import SubjectError

    with pytest.raises(SubjectError, match="unexpected keyword argument 'mask'"):
        judged(sdpa, "masked")


def test_the_convention_of_rows_without_keys_is_observed() -> None:
    report = judged(sdpa, "masked", inputs={"mask": "attn_mask"})
    note = next(v for v in report.verdicts if v.name.startswith("rows without keys"))
    assert note.status is Status.UNDECIDED
    assert "gives zeros there" in note.detail
    assert report.ok


STRAY: dict[str, tuple[Callable[..., Any], str]] = {
    "another device": (
        lambda q, k, v: sdpa(q, k, v).to("meta"),
        "O is on the device meta, due cpu",
    ),
    "a sparse tensor": (lambda q, k, v: sdpa(q, k, v).to_sparse(), "layout torch.sparse_coo for O"),
}


@pytest.mark.parametrize(("fn", "words"), STRAY.values(), ids=STRAY)
def test_a_tensor_that_lies_elsewhere_is_refuted(fn: Callable[..., Any], words: str) -> None:
    forward = judged(fn, "global", cases=3).verdicts[0]
    assert forward.status is Status.REFUTED
    assert words in forward.detail


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(ParameterError, match="found: nowhere"):
        judged(sdpa, "global", device="nowhere")


def test_tensors_of_8_bits_come_with_their_scales() -> None:
    def kernel(q: Any, k: Any, v: Any, **s: Any) -> Any:
        assert {x.dtype for x in (q, k, v)} == {torch.float8_e4m3fn}
        assert {x.dtype for x in s.values()} == {torch.float32}
        scale = (s["sq"] * s["sk"])[..., None, None] / q.shape[-1] ** 0.5
        scores = q.float() @ k.float().mT * scale
        e = torch.exp(scores - scores.amax(-1, keepdim=True))
        # what is stored in 8 bits has 1 for its largest: weights would underflow
        p = (e * s["sv"][..., None, :]).to(torch.float8_e4m3fn)
        return (p.float() @ v.float() / e.sum(-1, keepdim=True)).bfloat16()

    how: dict[str, Any] = {"dtypes": ("bfloat16",), "types": EIGHT, "profile": "fp8_e4m3"}
    report = av.check(kernel, SPEC, framework="torch", explain=False, **how)
    assert report.verdicts[0].status is Status.HELD


def test_a_bias_of_another_type_has_its_gradient_in_it() -> None:
    def biased(q: Any, k: Any, v: Any, bias: Any) -> Any:
        scores = q.float() @ k.float().mT / q.shape[-1] ** 0.5 + bias
        return torch.softmax(scores, -1).to(v.dtype) @ v

    report = judged(biased, "biased", dtypes=("bfloat16",), types={"bias": "float32"})
    assert set(statuses(report).values()) == {"HELD"}
    assert "backward dbias (bfloat16)" in statuses(report)


def test_what_is_forward_only_is_told_how_to_say_so() -> None:
    forward = torch.no_grad()(sdpa)
    refuted = judged(forward, "global", cases=2).comparisons[1]
    assert refuted.status is Status.REFUTED
    assert "backward=False, --no-backward, declares that it is forward only" in refuted.detail
    declared = judged(forward, "global", cases=6, backward=False)
    assert statuses(declared) == {"forward O (float32)": "HELD"}
