"""PyTorch's flex attention, run eagerly, agrees with the spec of each modification that it takes.

On the CPU it has no backward pass, so that its arrays go in and out as NumPy's and the forward
alone is judged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import attnverify as av
from attnverify.notation import additive_bias, attention, causal, given, grouped, key_lengths
from attnverify.spec import Spec
from attnverify.verdict import Report, Status

pytestmark = pytest.mark.frameworks
torch = pytest.importorskip("torch")
flex = pytest.importorskip("torch.nn.attention.flex_attention")

Array = NDArray[Any]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    # Eager as it is, it would otherwise be traced anew for every shape.
    with torch.compiler.set_stance("force_eager"):
        yield


def attend(
    q: Array,
    k: Array,
    v: Array,
    *,
    keep: Callable[..., Any] | None = None,
    score: Callable[..., Any] | None = None,
    **how: Any,
) -> Any:
    """Flex attention under a mask `keep` and a score `score` of (batch, head, query, key)."""
    tensors = [torch.from_numpy(x) for x in (q, k, v)]
    shape = (q.shape[0], q.shape[1], q.shape[2], k.shape[2])
    mask = None if keep is None else flex.create_block_mask(keep, *shape, device="cpu")
    found = flex.flex_attention(*tensors, score_mod=score, block_mask=mask, **how)
    return tuple(x.numpy() for x in found) if isinstance(found, tuple) else found.numpy()


def under(**rules: Callable[..., Any]) -> Callable[..., Array]:
    """A subject whose rules are made from what it is given beside q, k and v."""

    def subject(q: Array, k: Array, v: Array, **given: Any) -> Any:
        known = {n: torch.from_numpy(x) if hasattr(x, "shape") else x for n, x in given.items()}
        return attend(q, k, v, **{name: rule(**known) for name, rule in rules.items()})

    return subject


def ordered(**_: Any) -> Any:
    return lambda _b, _h, i, j: j <= i


PLAIN: dict[str, tuple[Callable[..., Any], str | Spec, dict[str, Any]]] = {
    "every key": (attend, "global", {}),
    "another scale": (
        lambda q, k, v: attend(q, k, v, scale=0.25),
        attention("flex", scale=0.25),
        {},
    ),
    "grouped heads, each key head repeated in place": (
        lambda q, k, v: attend(q, k, v, enable_gqa=True),
        "grouped_query",
        {},
    ),
    "the logarithm of the sum, to base e": (
        lambda q, k, v: attend(q, k, v, return_lse=True),
        "global",
        {"outputs": ["O", "L"]},
    ),
}

MASKS: dict[str, tuple[Callable[..., Any], str | Spec, dict[str, Any]]] = {
    "causal": (under(keep=ordered), "causal", {}),
    "sliding window": (
        under(keep=lambda window: lambda _b, _h, i, j: (j <= i) & (i - j < window)),
        "sliding_window",
        {},
    ),
    "local": (
        under(keep=lambda left, right: lambda _b, _h, i, j: (i - j <= left) & (j - i <= right)),
        "local",
        {},
    ),
    "prefix": (
        under(keep=lambda prefix: lambda _b, _h, i, j: (j <= i) | (j < prefix)),
        "prefix",
        {},
    ),
    "dilated": (
        under(
            keep=lambda window, step: (
                lambda _b, _h, i, j: (
                    (j <= i) & (i - j <= (window - 1) * step) & ((i - j) % step == 0)
                )
            )
        ),
        "dilated",
        {},
    ),
    "blocks": (
        under(keep=lambda block: lambda _b, _h, i, j: i // block == j // block),
        "blocked",
        {},
    ),
    "documents": (
        under(
            keep=lambda segments: lambda b, _h, i, j: (j <= i) & (segments[b, i] == segments[b, j])
        ),
        "documents",
        {},
    ),
    "lengths": (
        under(keep=lambda lengths: lambda b, _h, _i, j: j < lengths[b]),
        "padding",
        {"empty_rows": "zeros"},
    ),
    "a mask": (
        under(keep=lambda mask: lambda b, h, i, j: mask[b, h, i, j]),
        "masked",
        {"empty_rows": "zeros"},
    ),
    "grouped, causal and padded": (
        lambda q, k, v, *, lengths: attend(
            q, k, v, enable_gqa=True, keep=padded(torch.from_numpy(lengths))
        ),
        attention("flex", heads=grouped(), mask=causal() & key_lengths()),
        {"empty_rows": "zeros"},
    ),
}


def padded(lengths: Any) -> Any:
    return lambda b, _h, i, j: (j <= i) & (j < lengths[b])


def sloped(slopes: Any) -> Any:
    return lambda s, _b, h, i, j: s + slopes[h] * (j - i)


SCORES: dict[str, tuple[Callable[..., Any], str | Spec, dict[str, Any]]] = {
    "ALiBi": (
        under(keep=ordered, score=sloped),
        av.load("alibi", slopes="input"),
        {},
    ),
    "a cap": (
        under(score=lambda cap: lambda s, _b, _h, _i, _j: cap * torch.tanh(s / cap)),
        "softcap",
        {},
    ),
    "a bias of heads": (
        under(score=lambda bias: lambda s, _b, h, i, j: s + bias[h, i, j]),
        attention("flex", bias=additive_bias(["batch"])),
        {},
    ),
    "a bias of what a mask keeps": (
        under(
            keep=lambda mask, **_: lambda b, _h, _i, j: mask[b, j],
            score=lambda bias, **_: lambda s, b, h, i, j: s + bias[b, h, i, j],
        ),
        attention("flex", bias=additive_bias(), mask=given(["heads", "queries"])),
        {"empty_rows": "zeros"},
    ),
}
RIGHT = {**PLAIN, **MASKS, **SCORES}


def judged(fn: Callable[..., Any], spec: str | Spec, **settings: Any) -> Report:
    return av.check(fn, spec, **{"cases": 8, "explain": False, **settings})


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("fn", "spec", "settings"), RIGHT.values(), ids=RIGHT)
def test_forward_is_right(
    fn: Callable[..., Any], spec: str | Spec, settings: dict[str, Any], dtype: str
) -> None:
    report = judged(fn, spec, dtypes=(dtype,), **settings).raise_if_refuted()
    forward = [v for v in report.verdicts if v.name.startswith("forward")]
    assert [v.status for v in forward] == [Status.HELD] * len(settings.get("outputs", ["O"]))


# Another convention each, and what it is judged by.
WRONG: dict[str, tuple[Callable[..., Any], str | Spec]] = {
    "a window that does not count the query": (
        MASKS["sliding window"][0],
        av.load("sliding_window", counts="left"),
    ),
    "causal from the last position": (
        MASKS["causal"][0],
        av.load("causal", align="bottom_right"),
    ),
    "a mask of what is hidden": (
        under(keep=lambda mask: lambda b, h, i, j: ~mask[b, h, i, j]),
        "masked",
    ),
    "a cap after the mask": (
        under(keep=ordered, score=lambda cap: lambda s, _b, _h, _i, _j: cap * torch.tanh(s / cap)),
        av.load("softcap", ordered=True, cap_before_mask=False),
    ),
    "key heads in cycles": (
        PLAIN["grouped heads, each key head repeated in place"][0],
        av.load("grouped_query", head_map="tile"),
    ),
    "a distance without its sign": (
        under(score=sloped),
        av.load("alibi", ordered=False, slopes="input"),
    ),
    "documents that see what follows": (
        MASKS["documents"][0],
        av.load("documents", ordered=False),
    ),
}


@pytest.mark.parametrize(("fn", "spec"), WRONG.values(), ids=WRONG)
def test_another_convention_is_refuted(fn: Callable[..., Any], spec: str | Spec) -> None:
    forward = judged(fn, spec).verdicts[0]
    assert forward.status is Status.REFUTED
    assert forward.evidence["failing"] > 0


def test_a_logarithm_to_base_2_is_refuted() -> None:
    def fn(q: Array, k: Array, v: Array) -> Any:
        output, lse = attend(q, k, v, return_lse=True)
        return output, lse / np.log(2, dtype=lse.dtype)

    statuses = [v.status for v in judged(fn, "global", outputs=["O", "L"]).verdicts[:2]]
    assert statuses == [Status.HELD, Status.REFUTED]
