"""Audits of tests: what sees nothing scores nothing, and what is missing is told."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import attnverify as av
from attnverify.audit import suggested
from attnverify.audit.differences import Differences, draws
from attnverify.errors import ParameterError, RefutedError
from attnverify.transforms.mutate import mutants
from attnverify.verdict import Report, Status

Array = npt.NDArray[Any]
Fn = Callable[..., Any]
# What the operators call by that, whichever there are.
SIGNS = {
    mutant.sentence
    for mutant in mutants(av.load("causal"))
    if mutant.operator.name.startswith("sign of ")
}


def reference(q: Array, k: Array, v: Array) -> Array:
    s = q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1])
    s = np.where(np.tri(*s.shape[-2:]) > 0, s, -np.inf)
    e = np.exp(s - s.max(-1, keepdims=True))
    found: Array = e / e.sum(-1, keepdims=True) @ v
    return found


def nothing(fn: Fn) -> None:
    """A test that cannot fail."""


def positive(fn: Fn, *, signed: bool = False) -> None:
    """Uniform inputs above zero, a tolerance of a hundredth."""
    rng = np.random.default_rng(3)
    low = -1.0 if signed else 0.0
    q, k, v = (rng.uniform(low, 1, (2, 2, 8, 4)) for _ in range(3))
    np.testing.assert_allclose(fn(q, k, v), reference(q, k, v), atol=1e-2)


def by_status(report: Report, status: Status) -> set[str]:
    return {verdict.name for verdict in report.verdicts if verdict.status is status}


@pytest.fixture(scope="module")
def audited() -> Report:
    return av.audit(positive, "causal")


def test_a_test_that_cannot_fail_scores_nothing() -> None:
    report = av.audit(nothing, "causal")
    assert not report.ok
    assert report.sections[0].figures["score"] == 0
    assert by_status(report, Status.REFUTED) == {v.name for v in report.verdicts}


def test_positive_inputs_leave_every_sign_bug_alive(audited: Report) -> None:
    assert len(SIGNS) >= 3
    assert by_status(audited, Status.REFUTED) >= SIGNS
    assert 0.2 < audited.sections[0].figures["score"] < 0.6


def test_signed_inputs_leave_none() -> None:
    report = av.audit(lambda fn: positive(fn, signed=True), "causal")
    assert by_status(report, Status.HELD) >= SIGNS


def test_survivors_are_cited_and_shown(audited: Report) -> None:
    one = next(v for v in audited.verdicts if v.name == "computes the mask aligned bottom-right")
    assert one.status is Status.REFUTED
    assert one.evidence["citations"][0].startswith("MSK-01: ")
    assert "batch=1 heads=1 queries=1 key_dim=1 keys=2 value_dim=1" in one.detail


def test_with_what_is_suggested_every_bug_is_noticed(audited: Report) -> None:
    missing = suggested(audited, "causal")

    def both(fn: Fn) -> None:
        positive(fn)
        missing(fn)

    report = av.audit(both, "causal")
    assert report.ok
    assert report.sections[0].figures["score"] == 1


def test_what_is_suggested_passes_what_is_right(audited: Report) -> None:
    missing = suggested(audited, "causal")
    missing(lambda q, k, v: reference(q, k, v).astype(q.dtype))
    with pytest.raises(RefutedError, match="first wrong entry"):
        missing(lambda q, k, v: reference(-q, k, v).astype(q.dtype))


def test_equivalent_mutants_agree_with_the_spec_on_every_draw(audited: Report) -> None:
    spec = av.load("causal")
    told = set(audited.sections[0].figures["equivalent"])
    found = Differences(spec, draws(spec, 0, "float32"))
    assert {m.sentence for m in mutants(spec) if found.cheapest(m.spec) is None} == told
    assert "gives NaN in a row without keys" in told
    assert not told & {verdict.name for verdict in audited.verdicts}


def test_a_test_that_fails_what_is_right_is_refused() -> None:
    def wrong(fn: Fn) -> None:
        x = np.ones((1, 1, 2, 2))
        assert (fn(x, x, x) == 2).all()

    with pytest.raises(ParameterError, match="fails on what is right"):
        av.audit(wrong, "causal")


def test_what_a_mutant_cannot_compute_is_not_called_noticed() -> None:
    """Sizes that no spec takes: the failure is the mutant's own, as it is the spec's."""

    def unequal(fn: Fn) -> None:
        x = np.ones((1, 1, 2, 2))
        fn(x, np.ones((1, 1, 3, 5)), x)

    with pytest.raises(ParameterError, match="fails on what is right") as told:
        av.audit(unequal, "causal")
    assert "ShapeError" in str(told.value)


def test_names_parameters_and_several_outputs_are_passed_on() -> None:
    def window(fn: Fn) -> None:
        rng = np.random.default_rng(0)
        q, k, v = (rng.standard_normal((1, 1, 6, 2)) for _ in range(3))
        out, lse = fn(query=q, key=k, value=v, window=2)
        assert out.shape == q.shape
        assert lse.shape == q.shape[:-1]
        s = q @ k.swapaxes(-1, -2) / 2**0.5
        due = np.log(np.exp(s[..., 5, 4:]).sum(-1))
        np.testing.assert_allclose(lse[..., 5], due)

    names = {"Q": "query", "K": "key", "V": "value"}
    spec = av.load("sliding_window", outputs=("O", "L"))
    report = av.audit(window, spec, inputs=names)
    found = {v.name: v.status for v in report.verdicts}
    assert found["applies no mask: every key is seen"] is Status.HELD
    assert Status.REFUTED in found.values()


KERNELS = "def attention(q, k, v):\n    raise NotImplementedError\n"
TEST = """import numpy as np
import pytest
from kernels import attention
import kernels


@pytest.fixture
def x():
    return np.random.default_rng(0).standard_normal((1, 1, 4, 2))


@pytest.mark.parametrize("module", [True, False])
def test_first_row(x, module):
    fn = kernels.attention if module else attention
    np.testing.assert_allclose(fn(x, x, x)[..., 0, :], x[..., 0, :])


def test_elsewhere():
    pass
"""


def run(folder: Path, *words: str) -> tuple[int, str]:
    (folder / "kernels.py").write_text(KERNELS)
    (folder / "test_kernels.py").write_text(TEST)
    done = subprocess.run(
        [sys.executable, "-m", "attnverify", "audit", *words],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow  # docs/audit.md runs the same command in every run
def test_a_test_of_pytest_is_audited_from_the_command_line(tmp_path: Path) -> None:
    page = tmp_path / "audit.html"
    status, said = run(
        tmp_path, "test_kernels.py::test_first_row", "--spec", "causal",
        "--target", "kernels:attention", "--html", str(page),
    )  # fmt: skip
    assert status == 1, said
    assert "applies no mask: every key is seen" not in said
    assert "divides the scores by the number of key channels, not by its root" in said
    assert "lets it pass" in page.read_text("utf-8")


REFUSED = [
    (("test_kernels.py::test_first_row",), "what a test of pytest calls is not known"),
    (
        ("test_kernels.py::test_elsewhere", "--target", "kernels:attentoin"),
        "there is nothing of this name to be replaced",
    ),
    (("test_kernels.py::test_none", "--target", "kernels:attention"), "did not run the test"),
    (
        ("test_kernels.py::test_first_row", "--target", "kernels:attention", "--framework", "tf"),
        "no mutant can be put in for functions of this library",
    ),
]


@pytest.mark.parametrize(("words", "told"), REFUSED)
def test_what_cannot_be_audited_is_refused_in_words(
    tmp_path: Path, words: tuple[str, ...], told: str
) -> None:
    status, said = run(tmp_path, *words, "--spec", "causal")
    assert status == 2, said
    assert told in said
    assert "Traceback" not in said
