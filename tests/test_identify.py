"""Functions whose conventions are known, and what `identify` reads off them without being told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from typer.testing import CliRunner

import attnverify as av
from attnverify.cli import app
from attnverify.errors import MissingExtraError, ParameterError
from attnverify.identify import UNKNOWN, conventions, support
from attnverify.identify.known import Known
from attnverify.report import render_html
from attnverify.report.page import page
from attnverify.verdict import Report, Status, Verdict

Array = npt.NDArray[Any]
Fn = Callable[..., Any]


def softmax(s: Array, further: float = 0.0) -> Array:
    """exp(s) over its sum, `further` in the sum."""
    with np.errstate(invalid="ignore"):
        largest = np.max(s, axis=-1, keepdims=True)
        largest = np.maximum(largest, 0).astype(s.dtype) if further else largest
        e = np.exp(s - largest)
        rest = further * np.exp(-largest) if further else 0
        found: Array = e / (np.sum(e, axis=-1, keepdims=True) + rest)
    return found


def scores(q: Array, k: Array, scale: float | None = None) -> Array:
    factor = q.shape[-1] ** -0.5 if scale is None else scale
    found: Array = (q * q.dtype.type(factor)) @ np.swapaxes(k, -1, -2)
    return found


def distance(q: Array, k: Array, align: str = "top_left") -> Array:
    """How far key j stands before query i."""
    n_q, n_k = q.shape[-2], k.shape[-2]
    moved = n_k - n_q if align == "bottom_right" else 0
    return np.arange(n_q)[:, None] + moved - np.arange(n_k)[None]


def hidden(s: Array, seen: Array) -> Array:
    found: Array = np.where(seen, s, -np.inf).astype(s.dtype)
    return found


def plain(q: Array, k: Array, v: Array) -> Array:
    return softmax(scores(q, k)) @ v


def banded(
    align: str = "top_left",
    before: int | None = None,
    after: int | None = 0,
    empty: str = "nan",
) -> Fn:
    """Keys up to `before` ahead of the own position and `after` behind it."""

    def attention(q: Array, k: Array, v: Array) -> Array:
        away = distance(q, k, align)
        seen = np.ones(away.shape, bool)
        if before is not None:
            seen &= away <= before
        if after is not None:
            seen &= away >= -after
        a = softmax(hidden(scores(q, k), seen))
        if empty == "zeros":
            a = np.where(np.any(seen, axis=-1, keepdims=True), a, 0).astype(a.dtype)
        return a @ v

    return attention


def scaled(scale: float) -> Fn:
    return lambda q, k, v: softmax(scores(q, k, scale)) @ v


def capped(q: Array, k: Array, v: Array) -> Array:
    return softmax(5 * np.tanh(scores(q, k) / 5)) @ v


def with_one_more(q: Array, k: Array, v: Array) -> Array:
    return softmax(scores(q, k), 1.0) @ v


def with_a_sink(q: Array, k: Array, v: Array) -> Array:
    return softmax(scores(q, k), 0.25) @ v


def with_logistic_weights(q: Array, k: Array, v: Array) -> Array:
    found: Array = (1 / (1 + np.exp(-scores(q, k)))) @ v
    return found


def with_slopes(q: Array, k: Array, v: Array) -> Array:
    heads = q.shape[1]
    slopes = 2.0 ** (-8 * np.arange(1, heads + 1) / heads)
    away = distance(q, k)
    bias = (-slopes[:, None, None] * away).astype(q.dtype)
    return softmax(hidden(scores(q, k) + bias, away >= 0)) @ v


def turned(
    x: Array, pairing: str, base: float = 10000.0, channels: int | None = None, start: int = 0
) -> Array:
    """Channels in pairs, turned by position over base^(2 r / d)."""
    count = x.shape[-1] if channels is None else channels
    half, places = count // 2, np.arange(x.shape[-2])[:, None] + start
    angle = places * base ** (-np.arange(half) / half)
    cos, sin = np.cos(angle).astype(x.dtype), np.sin(angle).astype(x.dtype)
    found: Array = x.copy()
    first, second = {
        "interleaved": (np.s_[..., 0:count:2], np.s_[..., 1:count:2]),
        "half": (np.s_[..., :half], np.s_[..., half:count]),
    }[pairing]
    found[first] = x[first] * cos - x[second] * sin
    found[second] = x[first] * sin + x[second] * cos
    return found


def rotated(pairing: str, *, last: bool = False, offset: int = 0, **how: Any) -> Fn:
    """Queries from the first position, the last ones, or `offset` positions on."""

    def attention(q: Array, k: Array, v: Array) -> Array:
        begun = k.shape[-2] - q.shape[-2] if last else offset
        return (
            softmax(scores(turned(q, pairing, start=begun, **how), turned(k, pairing, **how))) @ v
        )

    return attention


def grouped(repeat: Callable[[Array, int], Array]) -> Fn:
    def attention(q: Array, k: Array, v: Array) -> Array:
        times = q.shape[1] // k.shape[1]
        return softmax(scores(q, repeat(k, times))) @ repeat(v, times)

    return attention


def masked(kept: bool = True, empty: str = "nan", **named: str) -> Fn:
    """A mask argument that keeps or hides, with a convention for rows without keys."""

    def attention(q: Array, k: Array, v: Array, mask: Array | None = None) -> Array:
        s = scores(q, k)
        if mask is None:
            return softmax(s) @ v
        seen = mask if kept else ~mask
        if empty == "uniform":
            return softmax(np.where(seen, s, np.finfo(s.dtype).min).astype(s.dtype)) @ v
        a = softmax(hidden(s, seen))
        if empty == "zeros":
            a = np.where(np.any(seen, axis=-1, keepdims=True), a, 0).astype(s.dtype)
        return a @ v

    return attention


def biased(q: Array, k: Array, v: Array, attn_bias: Array | None = None) -> Array:
    s = scores(q, k)
    return softmax(s if attn_bias is None else s + attn_bias.astype(s.dtype)) @ v


def capped_with_a_bias(inside: bool) -> Fn:
    def attention(q: Array, k: Array, v: Array, bias: Array | None = None) -> Array:
        s = scores(q, k)
        added = np.zeros_like(s) if bias is None else bias.astype(s.dtype)
        bent = 5 * np.tanh((s + added if inside else s) / 5)
        return softmax(bent if inside else bent + added) @ v

    return attention


def biased_before_scaling(q: Array, k: Array, v: Array, attn_bias: Array | None = None) -> Array:
    s = scores(q, k, 1.0)
    s = s if attn_bias is None else s + attn_bias.astype(s.dtype)
    return softmax(s * s.dtype.type(q.shape[-1] ** -0.5)) @ v


def with_sums(base: float) -> Fn:
    def attention(q: Array, k: Array, v: Array) -> tuple[Array, Array]:
        s = scores(q, k)
        largest = np.max(s, axis=-1)
        sums = np.log(np.sum(np.exp(s - largest[..., None]), axis=-1)) + largest
        sums = sums / np.log(base)
        return softmax(s) @ v, sums.astype(s.dtype)

    return attention


def narrow_inside(q: Array, k: Array, v: Array) -> Array:
    found: Array = plain(*(x.astype(np.float32) for x in (q, k, v))).astype(q.dtype)
    return found


def square_alone(q: Array, k: Array, v: Array) -> Array:
    if q.shape[-2] != k.shape[-2] or q.shape[-1] % 8:
        raise ValueError("equal lengths, and heads of 8 channels")
    return plain(q, k, v)


def dropping(q: Array, k: Array, v: Array) -> Array:
    a = softmax(scores(q, k))
    kept: Array = np.random.default_rng().random(a.shape) > 0.1
    found: Array = (a * kept / 0.9).astype(a.dtype) @ v
    return found


# The function, the variant that the judge confirms, and conventions with their values.
KNOWN: dict[str, tuple[Fn, str, dict[str, str]]] = {
    "plain": (plain, "global", {
        "scale": "1/sqrt(d)", "mask": "none: every key is seen", "normaliser": "softmax",
        "cap": "none", "rotation": "none", "position bias": "none", "outputs": "O",
        "key heads of query heads": "one each", "alignment": "none",
        "types of arrays": "float64, float32, float16", "the same call twice": "the same bits",
        "internal precision": "that of the arrays",
    }),
    "causal": (banded(), "causal", {
        "mask": "causal: keys up to the own position", "alignment": "from the first position",
        "NaN in hidden places": "propagates",
    }),
    "causal from the last": (banded("bottom_right"), "causal", {
        "alignment": "from the last position", "rows without keys": "NaN",
    }),
    "a window": (banded(before=3, empty="zeros"), "sliding_window", {
        "mask": "a window: the last 4 keys up to the own position",
        "alignment": "from the first position",
    }),
    "a window from the last": (banded("bottom_right", before=2), "identified", {
        "rows without keys": "NaN",
        "mask": "a window: the last 3 keys up to the own position",
        "alignment": "from the last position",
    }),
    "a window to both sides": (banded(before=2, after=1), "identified", {
        "mask": "a window: keys from the own position -2 to the own position +1",
    }),
    "causal by two": (banded(after=2), "identified", {
        "mask": "causal, shifted: keys up to the own position +2",
    }),
    "unscaled": (scaled(1.0), "luong_dot", {"scale": "1"}),
    "a scale of its own": (scaled(0.3), "identified", {"scale": "0.3"}),
    "capped": (capped, "softcap", {"cap": "5 tanh(s / 5)", "order of cap and bias": ""}),
    "a bias inside the cap": (capped_with_a_bias(True), "softcap", {
        "bias of numbers": "added to scaled scores, inside the cap",
        "order of cap and bias": "bias inside the cap",
    }),
    "a bias after the cap": (capped_with_a_bias(False), "softcap", {
        "bias of numbers": "added to scaled scores",
        "order of cap and bias": "bias after the cap",
    }),
    "plus one": (with_one_more, "softmax_plus_one", {"normaliser": "softmax plus one"}),
    "slopes": (with_slopes, "alibi", {"position bias": "ALiBi, standard slopes"}),
    "neighbours turn": (rotated("interleaved"), "rope", {
        "rotation": "RoPE, interleaved pairs", "base of rotations": "10000",
        "positions of queries": "counted from 0, as keys are",
    }),
    "neighbours turn slowly": (rotated("interleaved", base=5e5), "identified", {
        "base of rotations": "500000",
    }),
    "some channels turn": (rotated("half", channels=8), "identified", {
        "rotation": "RoPE, half pairs, of the first 8 channels", "base of rotations": "10000",
    }),
    "some neighbours turn": (rotated("interleaved", channels=12), "identified", {
        "rotation": "RoPE, interleaved pairs, of the first 12 channels",
    }),
    "the last queries turn": (rotated("half", last=True), "rope", {
        "positions of queries": "the last query stands at the last key",
    }),
    "queries turn two ahead": (rotated("half", offset=2), "identified", {
        "positions of queries": "counted from 2",
    }),
    "halves turn": (rotated("half"), "rope", {"rotation": "RoPE, half pairs"}),
    "groups in a row": (grouped(lambda x, n: np.repeat(x, n, axis=1)), "grouped_query", {
        "key heads of query heads": "consecutive query heads share one",
    }),
    "groups in turn": (grouped(lambda x, n: np.tile(x, (1, n, 1, 1))), "grouped_query", {
        "key heads of query heads": "they take turns",
    }),
    "True keeps": (masked(), "global", {
        "mask of booleans": "True keeps", "mask of numbers": "taken for booleans",
        "rows without keys": "NaN",
        "NaN in hidden places": "propagates",
    }),
    "True hides": (masked(kept=False, empty="zeros"), "global", {
        "mask of booleans": "True hides", "rows without keys": "zeros",
    }),
    "an empty row is a mean": (masked(empty="uniform"), "global", {
        "rows without keys": "the mean of all values",
    }),
    "a bias": (biased, "global", {"attn_bias of numbers": "added to scaled scores"}),
    "a bias that is scaled": (biased_before_scaling, "global", {
        "attn_bias of numbers": "added before scaling",
    }),
    "sums to the base e": (with_sums(np.e), "global", {
        "outputs": "O and the log-sum-exp, base e",
    }),
    "sums to the base 2": (with_sums(2.0), UNKNOWN, {"outputs": "O and the log-sum-exp, base 2"}),
    "float32 inside": (narrow_inside, "global", {"internal precision": "float32"}),
    "square ones alone": (square_alone, "global", {
        "shapes": "values wider than keys, several batch entries", "alignment": "none",
    }),
    "a sink": (with_a_sink, UNKNOWN, {"normaliser": "softmax with a sink"}),
    "logistic": (with_logistic_weights, UNKNOWN, {"normaliser": "sigmoid"}),
    "dropout": (dropping, UNKNOWN, {"the same call twice": "other bits"}),
}  # fmt: skip


def variant(report: Report) -> Verdict:
    return next(v for v in report.verdicts if v.name == "variant")


@pytest.mark.parametrize(("fn", "name", "due"), KNOWN.values(), ids=KNOWN)
def test_conventions_are_those_that_a_function_has(fn: Fn, name: str, due: dict[str, str]) -> None:
    report = av.identify(fn)
    found = conventions(report)
    assert {key: found.get(key) for key in due} == due
    assert report.sections[0].spec == name
    assert variant(report).status is (Status.UNDECIDED if name == UNKNOWN else Status.HELD)


# Functions that are no variant wherever a probe does not look.


def wrong_beyond(q: Array, k: Array, v: Array) -> Array:
    found: Array = plain(q, k, v) * q.dtype.type(1.01 if k.shape[-2] > 5 else 1)
    return found


def wrong_with_three(q: Array, k: Array, v: Array) -> Array:
    """Right for what is designed: zeros, ones and single channels."""
    spread = np.ptp(np.abs(q)) > 2
    return plain(q, k, v) if not spread else plain(q * q.dtype.type(1.001), k, v)


def values_again(q: Array, k: Array, v: Array) -> Array:
    return v + 0 * plain(q, k, v) if v.shape[-2] == q.shape[-2] else plain(q, k, v)


def raises(q: Array, k: Array, v: Array) -> Array:
    raise RuntimeError("not on this machine")


def never_the_same(q: Array, k: Array, v: Array) -> Array:
    found: Array = np.random.default_rng().standard_normal((*q.shape[:-1], v.shape[-1]))
    return found.astype(q.dtype)


@pytest.mark.parametrize(
    "fn", [wrong_beyond, wrong_with_three, values_again, raises, never_the_same]
)
def test_what_is_no_variant_is_given_no_name(fn: Fn) -> None:
    report = av.identify(fn)
    assert variant(report).status is Status.UNDECIDED
    assert report.sections[0].spec == UNKNOWN


def test_what_it_answered_no_call_of_is_said() -> None:
    report = av.identify(raises)
    assert variant(report).detail == "it answered no call"
    assert "not on this machine" in report.verdicts[1].detail


# What it ends with


@pytest.mark.parametrize("name", ["causal from the last", "a window to both sides", "halves turn"])
def test_the_program_that_it_ends_with_repeats_the_check(name: str) -> None:
    fn = KNOWN[name][0]
    (program,) = av.identify(fn, subject_name="mine:fn").sections[0].figures["notes"]
    told: dict[str, Any] = {"fn": fn}
    lines = program.splitlines()
    assert lines[-1].startswith("av.check(fn, spec")
    exec("\n".join(lines[:-1]), told)
    assert eval(lines[-1].removesuffix(")") + ", cases=8)", told).ok  # noqa: S307  as above


def test_what_comes_nearest_is_told_as_such() -> None:
    (program,) = av.identify(wrong_beyond).sections[0].figures["notes"]
    assert program.startswith("# The nearest that was found, which this check refutes.")


def test_the_same_seed_finds_the_same() -> None:
    first, second = (conventions(av.identify(banded(), seed=3)) for _ in range(2))
    assert first == second


def test_a_layout_and_arguments_are_taken() -> None:
    def swapped(q: Array, k: Array, v: Array, factor: float) -> Array:
        q, k, v = (np.swapaxes(x, 1, 2) for x in (q, k, v))
        return np.swapaxes(softmax(scores(q, k, factor)) @ v, 1, 2)

    report = av.identify(swapped, layout="b n h d", kwargs={"factor": 0.5})
    assert conventions(report)["scale"] == "0.5"
    assert "layout='b n h d'" in report.sections[0].figures["notes"][0]


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises((ParameterError, MissingExtraError)):
        av.identify(plain, framework="fortran")


# The command


KERNEL = """
import numpy as np

def causal(q, k, v):
    s = q @ np.swapaxes(k, -1, -2) / np.asarray(q.shape[-1] ** 0.5, q.dtype)
    i, j = np.arange(s.shape[-2])[:, None], np.arange(s.shape[-1])
    s = np.where(j <= i, s, -np.inf).astype(q.dtype)
    e = np.exp(s - np.max(s, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True) @ v
"""


def test_the_command_prints_what_was_found_and_writes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("kernel.py").write_text(KERNEL, encoding="utf-8")
    words = ["identify", "kernel.py:causal", "--json", "found.json", "--html", "found.html"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    told = " ".join(done.output.split())
    assert "alignment from the first position" in told
    assert 'spec = av.load("causal")' in done.output
    assert conventions(Report.from_json(Path("found.json")))["variant"] == "causal"
    assert "from the first position" in Path("found.html").read_text(encoding="utf-8")


def test_the_command_takes_no_function_that_is_not_there() -> None:
    done = CliRunner().invoke(app, ["identify", "nowhere.py:causal"])
    assert done.exit_code == 2


LIBRARY = (
    Known("plain", "numpy", "numpy", lambda: plain),
    Known("from the last", "numpy", "numpy", lambda: banded("bottom_right")),
    Known("from the first", "numpy", "numpy", lambda: banded("top_left")),
    Known("gone", "numpy", "numpy", lambda: np.attention_of_another_release),  # type: ignore[attr-defined]  # a release without it
    Known("attention", "no_such_library", "numpy", lambda: plain),
)


@pytest.fixture(scope="module")
def side_by_side() -> Report:
    return support(LIBRARY)


def test_functions_of_libraries_stand_side_by_side(side_by_side: Report) -> None:
    table = page(side_by_side).support
    assert table is not None
    assert [function for _, _, function in table.functions] == [one.title for one in LIBRARY[:-1]]
    assert {library for _, library, _ in table.functions} == {f"numpy {np.__version__}"}
    values = {topic: [row and row.value for row, _ in rows] for topic, rows in table.lines}
    first, last = "from the first position", "from the last position"
    assert values["alignment"] == ["none", last, first, None]
    assert values["variant"] == ["global", "causal", "causal", ""]


def test_what_differs_from_most_is_marked(side_by_side: Report) -> None:
    table = page(side_by_side).support
    assert table is not None
    marked = {topic: [apart for _, apart in rows] for topic, rows in table.lines}
    assert marked["mask"] == [True, False, False, False]
    assert not any(marked["scale"])
    # No two of the three agree.
    assert not any(marked["alignment"])


def test_what_is_absent_or_broken_is_said(side_by_side: Report) -> None:
    assert side_by_side.environment["not installed"] == "no_such_library"
    (told,) = side_by_side.sections[-1].verdicts
    assert told.status is Status.UNDECIDED
    assert "attention_of_another_release" in told.detail


def test_the_page_shows_the_evidence_in_its_cells(side_by_side: Report) -> None:
    html = render_html(side_by_side)
    assert "Conventions of 4 functions" in html
    assert "the other alignment sees other keys at unequal lengths" in html
    assert html == render_html(Report.from_json(side_by_side.to_json()))


def test_one_function_is_no_table() -> None:
    assert page(support(LIBRARY[:1])).support is None


@pytest.mark.parametrize("words", [[], ["file.py:fn", "--all"]])
def test_the_command_takes_one_function_or_all(words: list[str]) -> None:
    done = CliRunner().invoke(app, ["identify", *words])
    assert done.exit_code == 2
    assert "one function, or --all" in done.output
