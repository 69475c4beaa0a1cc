"""Diagnosis: wrong subjects are named by the bug that they have, right ones never."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import attnverify as av
from attnverify.check.diagnose import Diagnosis
from attnverify.check.explanation import Explanation
from attnverify.check.run import judge_of
from attnverify.check.settings import Settings
from attnverify.inputs import Draw
from attnverify.report.text import failure
from attnverify.verdict import Report, Status

Array = Any


def attend(q: Array, k: Array, v: Array, keep: Array = True, power: float = 0.5) -> Array:
    """Attention in float64, answered in the type of v."""
    q, k, x = (a.astype(np.float64) for a in (q, k, v))
    s = np.where(keep, q @ k.swapaxes(-1, -2) * q.shape[-1] ** -power, -np.inf)
    top = s.max(-1, keepdims=True)
    e = np.exp(s - np.where(np.isfinite(top), top, 0))
    z = e.sum(-1, keepdims=True)
    return (e / np.where(z == 0, 1, z) @ x).astype(v.dtype)


def seen(q: Array, k: Array, ahead: int = 0) -> Array:
    i, j = np.ogrid[: q.shape[-2], : k.shape[-2]]
    return j <= i + ahead


def right(q: Array, k: Array, v: Array) -> Array:
    return attend(q, k, v, seen(q, k))


def bottom_right(q: Array, k: Array, v: Array) -> Array:
    return attend(q, k, v, seen(q, k, k.shape[-2] - q.shape[-2]))


def scaled_twice(q: Array, k: Array, v: Array) -> Array:
    return attend(q, k, v, seen(q, k), 1.0)


def odd(q: Array, k: Array, v: Array) -> Array:
    """What no known bug computes: a tenth more in every second row."""
    found = right(q, k, v)
    found[..., ::2, :] *= v.dtype.type(1.1)
    return found


def other_gemm(q: Array, k: Array, v: Array) -> Array:
    """A legal reformulation: the weights are never normalised, the output is."""
    s = np.where(seen(q, k), np.einsum("bhik,bhjk->bhij", q, k) * q.shape[-1] ** -0.5, -np.inf)
    e = np.exp(s - s.max(-1, keepdims=True)).astype(v.dtype)
    return (np.einsum("bhij,bhjc->bhic", e, v) / e.sum(-1, keepdims=True)).astype(v.dtype)


@cache
def found(subject: Any) -> tuple[Explanation, ...]:
    spec = av.load("causal")
    judge = judge_of(Settings(subject, spec), "float32")
    search = Diagnosis(judge, Draw(spec, dtype="float32"), [], 0, seconds=60)
    return tuple(search.explanations())


@pytest.mark.parametrize(
    ("subject", "operator"),
    [(bottom_right, "alignment"), (scaled_twice, "scale added")],
)
def test_a_bug_is_the_first_explanation(subject: Any, operator: str) -> None:
    first = found(subject)[0]
    assert first.mutant.operator.name == operator
    assert first.agreed > first.differed > 0


@pytest.mark.parametrize("subject", [right, other_gemm, odd])
def test_no_bug_is_named_where_none_is_had(subject: Any) -> None:
    assert found(subject) == ()


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """A check that fails, and one that fails for no known reason, of a few cases each."""
    store = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patient:
        # What is said is tested, not how soon: a busy machine takes the time that it takes.
        patient.setattr(import_module("attnverify.check.explained"), "SECONDS", 60.0)
        patient.setattr(import_module("attnverify.check.explained"), "CLOCK", 300.0)
        told = [av.check(f, "causal", store=store, cases=12) for f in (bottom_right, odd)]
    return Report.merged(told)


def test_a_check_says_what_a_refuted_subject_computes(reported: Report) -> None:
    section = reported.sections[0]
    verdict = next(v for v in section.verdicts if v.status is Status.REFUTED)
    (first, *_) = verdict.evidence["explained"]
    assert first["sentence"] == "computes the mask aligned bottom-right"
    assert "MSK-01" in first["bugs"]
    console = Console(record=True, width=200, file=StringIO())
    failure(console, section, verdict)
    text = console.export_text()
    assert "computes the mask aligned bottom-right (agrees on" in text
    assert "ml-explore/mlx#2835" in text
    assert "attnverify explain MSK-01" in text
    assert "fresh inputs, differs from the spec on" in text


def test_what_is_known_is_said_where_nothing_explains(reported: Report) -> None:
    (verdict,) = [v for v in reported.sections[1].verdicts if v.name.startswith("forward")]
    known = verdict.evidence["unexplained"]
    assert "wrong are O; the smallest shape that fails is batch=1" in known
    assert "O fails at" in known


def test_a_page_shows_it_too(reported: Report, tmp_path: Path) -> None:
    av.write_html(reported, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text("utf-8")
    assert "computes the mask aligned bottom-right" in page
    assert "no known bug, no other scale and no two bugs at once give these outputs" in page


def test_a_search_without_time_says_so(tmp_path: Path) -> None:
    spec = av.load("causal")
    judge = judge_of(Settings(bottom_right, spec), "float32")
    search = Diagnosis(judge, Draw(spec, dtype="float32"), [], 0, seconds=0.0)
    assert search.explanations() == []
    assert search.cut


def test_nobody_is_explained_who_does_not_want_it(tmp_path: Path) -> None:
    report = av.check(bottom_right, "causal", store=tmp_path, cases=12, explain=False)
    assert not any({"explained", "unexplained"} & {*v.evidence} for v in report.verdicts)


def test_a_subject_that_takes_long_is_asked_as_long_as_there_is_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(import_module("attnverify.check.diagnose"), "ASKING", 0.0)
    report = av.check(bottom_right, "causal", cases=12)
    (verdict,) = [v for v in report.verdicts if v.name == "forward O (float32)"]
    assert verdict.status is Status.REFUTED
    assert "ran out of time" in verdict.evidence["unexplained"]
