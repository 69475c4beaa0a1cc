"""pytest's side, from outside: each run below is a pytest of its own in a folder of its own."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house import PLUGIN

pytest_plugins = ["pytester"]

KERNEL = """
import numpy as np

def weights(s):
    e = np.exp(s - s.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)

def scores(q, k, past=0):
    s = q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1]).astype(q.dtype)
    i, j = np.mgrid[: s.shape[-2], : s.shape[-1]]
    return np.where(j <= i + past, s, -np.inf)

def right(q, k, v):
    return weights(scores(q, k)) @ v

def late(q, k, v):
    return weights(scores(q, k, past=1)) @ v

def traced(q, k, v):
    from autograd import numpy as anp
    s = anp.matmul(q, anp.swapaxes(k, -1, -2)) / q.shape[-1] ** 0.5
    e = anp.exp(s - anp.max(s, axis=-1, keepdims=True))
    return anp.matmul(e / anp.sum(e, axis=-1, keepdims=True), v)

def windowed(q, k, v, window=2):
    s = scores(q, k)
    i, j = np.mgrid[: s.shape[-2], : s.shape[-1]]
    return weights(np.where(j > i - window, s, -np.inf)) @ v

def whimsical(q, k, v, seen=[]):
    seen.append(0)
    return right(q, k, v) if len(seen) % 2 else late(q, k, v)
"""
LATE = ("--attnverify", "causal", "--against", "kernel.py:late", "--attnverify-set", "cases=6")
FORWARD = "forward O (float32)"
# What a right subject is also asked without a reference; with a mask, poison is skipped.
OF_ITSELF = {"global": 11, "causal": 8}


@pytest.fixture
def folder(pytester: pytest.Pytester) -> pytest.Pytester:
    """A folder with a few subjects in it."""
    pytester.makepyfile(kernel=KERNEL)
    return pytester


def run(folder: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """Run pytest there; a warning is an error."""
    return folder.runpytest_subprocess(*PLUGIN, "-W", "error", "-p", "no:randomly", *arguments)


def told(result: pytest.RunResult) -> str:
    return result.stdout.str()


def test_each_verdict_is_an_item(folder: pytest.Pytester) -> None:
    asked = ("--attnverify", "global", "--against", "kernel:traced", "--attnverify-set", "cases=6")
    result = run(folder, *asked, "-v", "--attnverify-dtype", "float64")
    assert result.ret == 0
    result.assert_outcomes(passed=4 + OF_ITSELF["global"])
    names = re.findall(r"against global::(.+ \(float64\)) PASSED", told(result))
    assert names[:4] == ["forward O (float64)", *(f"backward d{x} (float64)" for x in "QKV")]


def test_a_failure_is_told_in_the_words_of_the_verdict(folder: pytest.Pytester) -> None:
    result = run(folder, *LATE)
    assert result.ret == 1
    result.assert_outcomes(failed=1, skipped=1)
    result.stdout.fnmatch_lines([
        "*REFUTED*forward O (float32)*kernel.py:late against causal",
        "*smallest shape*batch=1 heads=1 queries=1 key_dim=1 keys=2 value_dim=1",
        "*first wrong entry O[[]batch=0, heads=0, queries=0, value_dim=0]",
        "*got *",
        "*due *",
        "*bound *",
        "attnverify check kernel.py:late --spec causal *--replay *.npz",
    ])  # fmt: skip
    assert "Traceback" not in told(result)
    assert "pytest_plugin.py" not in told(result)


def test_the_command_that_a_failure_shows_replays_it(folder: pytest.Pytester) -> None:
    command = next(
        x for x in told(run(folder, *LATE)).splitlines() if x.startswith("attnverify check")
    )
    again = folder.run(sys.executable, "-m", *shlex.split(command))
    assert again.ret == 1
    again.stdout.fnmatch_lines(["*REFUTED*forward O (float32)*"])


def test_a_backward_pass_that_is_not_judged_is_skipped_with_the_reason(
    folder: pytest.Pytester,
) -> None:
    result = run(folder, "-rs", *LATE)
    result.assert_outcomes(failed=1, skipped=1)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["SKIPPED*UNDECIDED: backward is not judged: no VJP was given*"])


@pytest.mark.slow
def test_subjects_are_judged_against_one_spec_or_each_against_its_own(
    folder: pytest.Pytester,
) -> None:
    more = ("--attnverify-set", "cases=6", "-m", "attnverify", "-v")
    both = ("--against", "kernel:right", "--against", "kernel:late")
    one = run(folder, "--attnverify", "causal", *both, *more)
    one.assert_outcomes(passed=1 + OF_ITSELF["causal"], failed=1, skipped=3)
    each = run(folder, "--attnverify", "causal", "--attnverify", "global", *both, *more)
    assert f"kernel:right against causal::{FORWARD} PASSED" in told(each)
    assert f"kernel:late against global::{FORWARD} FAILED" in told(each)


def test_parameters_are_set_and_layouts_named(folder: pytest.Pytester) -> None:
    asked = ("--attnverify", "sliding_window", "--against", "kernel:windowed", "-k", "forward")
    more = ("--attnverify-layout", "b h n d", "--attnverify-seed", "3")
    window = ("--attnverify-set", "window=2", "--attnverify-set", "cases=6")
    run(folder, *asked, *more, *window).assert_outcomes(
        passed=1, deselected=3 + OF_ITSELF["causal"]
    )


@pytest.mark.slow
def test_workers_of_xdist_report_the_same_items(folder: pytest.Pytester) -> None:
    # Asked twice, this subject gives different verdicts: workers must not each ask it.
    asked = ("--attnverify", "causal", "--against", "kernel:whimsical", "--against", "kernel:right")
    result = run(folder, *asked, "-n", "2", "--attnverify-set", "cases=6")
    result.assert_outcomes(passed=1 + OF_ITSELF["causal"], failed=1, skipped=3)
    result.stdout.fnmatch_lines(["*REFUTED*forward O (float32)*whimsical against causal"])
    assert "Different tests were collected" not in told(result)


@pytest.mark.parametrize(
    "workers",
    [
        pytest.param((), id="alone"),
        pytest.param(("-n", "2"), marks=pytest.mark.slow, id="workers"),
    ],
)
def test_a_listed_failure_is_expected(folder: pytest.Pytester, workers: tuple[str, ...]) -> None:
    folder.makefile(".txt", known=f"# known\n\n{FORWARD}  # off by one\n")
    result = run(folder, *LATE, "--attnverify-xfails", "known.txt", *workers)
    assert result.ret == 0
    result.assert_outcomes(xfailed=1, skipped=1)


def test_a_listed_verdict_that_holds_fails(folder: pytest.Pytester) -> None:
    folder.makefile(".txt", known=FORWARD)
    right = ("--attnverify", "causal", "--against", "kernel:right", "--attnverify-set", "cases=6")
    result = run(folder, *right, "--attnverify-xfails", "known.txt")
    result.assert_outcomes(passed=OF_ITSELF["causal"], failed=1, skipped=2)
    result.stdout.fnmatch_lines(["*XPASS(strict)*listed as failing*"])


def test_a_list_with_a_name_that_no_verdict_has_is_out_of_date(folder: pytest.Pytester) -> None:
    folder.makefile(".txt", known=f"{FORWARD}\nforward P (float32)\n")
    result = run(folder, *LATE, "--attnverify-xfails", "known.txt")
    assert result.ret == 2
    result.stdout.fnmatch_lines(["*lists what no verdict is called: 'forward P (float32)'*"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--attnverify", "causal"), "belong together"),
        (("--against", "kernel:right"), "belong together"),
        (
            (*LATE, "--attnverify", "global", "--against", "a:b", "--against", "c:d"),
            "2 specs for 3",
        ),
        ((*LATE, "--attnverify-set", "window"), "takes NAME=VALUE"),
        ((*LATE, "--attnverify-xfails", "nowhere.txt"), "No such file"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_options_that_do_not_fit_are_a_usage_error(
    folder: pytest.Pytester, arguments: tuple[str, ...], words: str
) -> None:
    result = run(folder, *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert words in result.stderr.str()


@pytest.mark.parametrize(
    ("spec", "subject", "words", "workers"),
    [
        ("gobal", "kernel:right", "did you mean global or local?", ()),
        pytest.param(
            "causal", "kernel:rihgt", "did you mean right?", ("-n", "2"), marks=pytest.mark.slow
        ),
        ("causal", "nowhere:f", "nowhere does not import", ()),
        ("sliding_window", "kernel:right", "unexpected keyword argument 'window'", ()),
    ],
)
def test_a_check_that_cannot_be_made_is_an_error_in_one_sentence(
    folder: pytest.Pytester, spec: str, subject: str, words: str, workers: tuple[str, ...]
) -> None:
    result = run(folder, "--attnverify", spec, "--against", subject, *workers)
    assert result.ret != 0
    assert words in told(result)
    assert "pytest_plugin.py" not in told(result)


MARKED = """
import kernel, pytest

@pytest.fixture
def window():
    return 2

@pytest.mark.attnverify("causal", cases=6)
def test_right():
    return kernel.right

@pytest.mark.attnverify("causal", cases=6)
def test_late():
    return kernel.late

@pytest.mark.attnverify("sliding_window", window=2, cases=6)
def test_window(window):
    return lambda q, k, v, **_: kernel.windowed(q, k, v, window)

@pytest.mark.attnverify("causal", cases=6)
def test_nothing():
    pass

@pytest.mark.attnverify
def test_without_a_spec():
    return kernel.right

@pytest.mark.attnverify("causal")
def test_own_mistake():
    assert kernel is None
"""


def test_a_marked_test_returns_its_subject(folder: pytest.Pytester) -> None:
    folder.makepyfile(test_marked=MARKED)
    result = run(folder, "--strict-markers")
    result.assert_outcomes(passed=2, failed=4)
    result.stdout.fnmatch_lines([
        "*_ test_late _*",
        "*REFUTED*forward O (float32)*kernel:late against causal",
        "*_ test_nothing _*",
        "a subject is a function*",
        "*_ test_without_a_spec _*",
        "the marker takes one spec: @pytest.mark.attnverify('causal')",
        "*_ test_own_mistake _*",
        ">*assert kernel is None",
    ])  # fmt: skip
    assert "pytest_plugin.py" not in told(result)


FIXTURE = """
import kernel

def test_right(attnverify_check):
    assert attnverify_check(kernel.right, "causal", cases=6).ok

def test_late(attnverify_check):
    attnverify_check(kernel.late, "causal", cases=6)

def test_no_such_spec(attnverify_check):
    attnverify_check(kernel.late, "casual", cases=6)
"""


def test_the_fixture_checks_and_fails_in_words(folder: pytest.Pytester) -> None:
    folder.makepyfile(test_fixture=FIXTURE)
    result = run(folder)
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines([
        '>*attnverify_check(kernel.late, "causal", cases=6)',
        "E*REFUTED*forward O (float32)*kernel:late against causal",
        "E*replay with",
        "E*no spec of this name",
    ])  # fmt: skip
    assert "pytest_plugin.py" not in told(result)


LIGHT = """
import sys

def test_nothing_heavy_was_loaded():
    heavy = {"sympy", "numpy", "scipy", "hypothesis", "z3", "rich", "typer", "torch", "jax"}
    assert not heavy & set(sys.modules)
"""


def test_pytest_starts_with_nothing_heavy(folder: pytest.Pytester) -> None:
    folder.makepyfile(test_light=LIGHT)
    run(folder).assert_outcomes(passed=1)


def test_the_plugin_imports_the_errors_and_nothing_else_of_ours() -> None:
    program = """if True:
        import sys, pytest
        before = set(sys.modules)
        import attnverify.pytest_plugin
        print(*sorted(set(sys.modules) - before - set(sys.stdlib_module_names)))
    """
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = [name for name in done.stdout.split() if not name.startswith("json.")]
    assert loaded == ["attnverify", "attnverify.errors", "attnverify.pytest_plugin"]


def test_the_installed_package_tells_pytest_of_the_plugin(pytestconfig: pytest.Config) -> None:
    import tomllib

    text = (Path(pytestconfig.rootpath) / "pyproject.toml").read_text(encoding="utf-8")
    points = tomllib.loads(text)["project"]["entry-points"]["pytest11"]
    assert points == {"attnverify": "attnverify.pytest_plugin"}
