"""Written property tests: right subjects pass, a wrong one fails the property that it breaks."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import attnverify as av
from attnverify.errors import ParameterError, SubjectError
from tests.house import PLUGIN, ROOT

KERNEL = """
from autograd import numpy as np

def weights(s, visible=True):
    s = np.where(visible, s, -np.inf)
    e = np.exp(s - np.max(s, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)

def scores(q, k):
    return np.matmul(q, np.swapaxes(k, -1, -2)) / q.shape[-1] ** 0.5

def places(q, k):
    return np.arange(q.shape[-2])[:, None], np.arange(k.shape[-2])[None]

def causal(q, k, v):
    i, j = places(q, k)
    return np.matmul(weights(scores(q, k), j <= i), v)

def causal_of_one_more(q, k, v):
    i, j = places(q, k)
    return np.matmul(weights(scores(q, k), j <= i + 1), v)

def causal_unnormalised(q, k, v):
    i, j = places(q, k)
    return np.matmul(weights(scores(q, k), j <= i), v) * 1.001

def repeated(x, q):
    return np.repeat(x, q.shape[1] // x.shape[1], axis=1)

def grouped(q, k, v):
    return np.matmul(weights(scores(q, repeated(k, q))), repeated(v, q))

def grouped_weighs_the_first_key(q, k, v):
    s = scores(q, repeated(k, q)) + 0.01 * (np.arange(k.shape[-2]) == 0)
    return np.matmul(weights(s.astype(q.dtype) if hasattr(s, "astype") else s), repeated(v, q))

def padded(q, k, v, lengths):
    visible = np.arange(k.shape[-2]) < lengths[:, None, None, None]
    return np.matmul(weights(scores(q, k), visible), v)

def padded_by_the_longest(q, k, v, lengths):
    visible = np.arange(k.shape[-2]) < np.max(lengths)
    return np.matmul(weights(scores(q, k), visible), v)

def feature(x):
    return np.where(x > 0, x + 1, np.exp(np.where(x > 0, 0, x)))

def linear(q, k, v):
    a = np.matmul(feature(q), np.swapaxes(feature(k), -1, -2))
    return np.matmul(a / np.sum(a, axis=-1, keepdims=True), v)

def linear_of_positive_values(q, k, v):
    return linear(q, k, np.where(v > 0, v, 0))

def logistic(x):
    return np.exp(-np.logaddexp(0, -x))

def lstm(x, h, c, **w):
    out = []
    for t in range(x.shape[1]):
        def gate(n):
            return np.matmul(x[:, t], w["W_" + n].T) + np.matmul(h, w["U_" + n].T) + w["b_" + n]
        c = logistic(gate("f")) * c + logistic(gate("i")) * np.tanh(gate("g"))
        h = logistic(gate("o")) * np.tanh(c)
        out.append(h)
    return np.stack(out, axis=1)

def lstm_that_looks_ahead(x, h, c, **w):
    return lstm(np.concatenate([x[:, 1:], x[:, -1:]], axis=1), h, c, **w)
"""


# Properties draw anew each time; the tests of them draw the same cases in every run.
SEED = "--hypothesis-seed=20170612"


def run(folder: Path, text: str) -> tuple[int, str]:
    """Run a written file in a folder that holds the kernels: status and output."""
    (folder / "kernel.py").write_text(KERNEL, encoding="utf-8")
    (folder / "test_written.py").write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", *PLUGIN, "-W", "error", "-q", "-rfs", SEED]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


def failed(output: str) -> set[str]:
    return set(re.findall(r"^FAILED test_written\.py::test_(\w+)", output, re.MULTILINE))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spec", "function", "tests"),
    [
        ("causal", "causal", 9),
        ("grouped_query", "grouped", 7),
        ("padding", "padded", 8),
        ("linear", "linear", 8),
        ("lstm", "lstm", 4),
    ],
)
def test_a_right_subject_passes(spec: str, function: str, tests: int, tmp_path: Path) -> None:
    status, output = run(tmp_path, av.ghostwrite(spec, against=f"kernel:{function}"))
    assert status == 0, output
    assert f"{tests} passed" in output


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spec", "function", "broken"),
    [
        ("causal", "causal_of_one_more", {
            "masked_weights_are_zero", "masked_keys_have_no_influence", "causality",
        }),
        ("causal", "causal_unnormalised", {"rows_sum_to_one"}),
        ("grouped_query", "grouped_weighs_the_first_key", {"permutation_of_keys_leaves_O"}),
        ("padding", "padded_by_the_longest", {
            "masked_weights_are_zero", "masked_keys_have_no_influence", "batch_independence",
        }),
        ("linear", "linear_of_positive_values", {"linearity_in_V"}),
        ("lstm", "lstm_that_looks_ahead", {"causality"}),
    ],
)  # fmt: skip
def test_a_wrong_subject_fails_what_it_breaks(
    spec: str, function: str, broken: set[str], tmp_path: Path
) -> None:
    status, output = run(tmp_path, av.ghostwrite(spec, against=f"kernel:{function}"))
    agreements = {"forward_agrees_with_the_oracle", "backward_agrees_with_the_oracle"}
    assert status == 1, output
    # The bound is the spec's own, so the sums of a subject that reads more keys may break it too.
    beside = {"linearity_in_V"} if "masked_weights_are_zero" in broken else set()
    assert failed(output) - beside == (broken | agreements) - beside, output
    assert "testing.py" not in output


@pytest.mark.slow
def test_without_a_subject_the_compiled_spec_stands_in(tmp_path: Path) -> None:
    status, output = run(tmp_path, av.ghostwrite("sliding_window", window=2))
    assert status == 0, output


@pytest.mark.slow
def test_a_subject_in_a_file_is_loaded_from_there(tmp_path: Path) -> None:
    text = av.ghostwrite("global", against="kernel.py:causal", layout="b h n d")
    assert 'resolve_subject("kernel.py:causal"), spec, layout="b h n d")' in text
    assert run(tmp_path, text)[0] == 1


def test_the_text_names_what_it_was_written_from_and_what_it_leaves_out() -> None:
    text = av.ghostwrite("causal", against="kernel:causal", align="bottom_right")
    told = ast.get_docstring(ast.parse(text)) or ""
    assert told.startswith("Properties of kernel:causal, written by attnverify ")
    assert "V[batch, heads, keys, value_dim] -> O[batch," in " ".join(told.split())
    assert "permutation equivariance: the mask orders the keys" in told
    assert 'spec = av.load("causal", align="bottom_right")' in text
    assert "permut" not in text.partition('"""\n\nimport')[2]


def test_the_text_is_formatted_and_types_no_tolerance() -> None:
    for spec in ("causal", "grouped_query", "padding", "linear", "lstm", "sliding_window"):
        for against in (None, "kernel:f", "kernel.py:f"):
            text = av.ghostwrite(spec, against=against)
            assert max(map(len, text.splitlines())) <= 100
            assert not re.search(r"tol|1e-", text.partition('"""\n\nimport')[2])


@pytest.mark.slow
def test_a_file_can_be_written_for_every_spec() -> None:
    for name in av.catalog():
        assert "def test_forward_agrees" in av.ghostwrite(name, against="kernel:f")
        compile(av.ghostwrite(name), name, "exec")


def test_a_spec_of_the_catalogue_may_be_given_as_such() -> None:
    text = av.ghostwrite(av.load("causal", align="bottom_right"), against="kernel:f")
    (line,) = re.findall("^spec = (.+)$", text, re.MULTILINE)
    assert eval(line, {"av": av}) == av.load("causal", align="bottom_right")  # noqa: S307  ours


@pytest.mark.parametrize("against", ["kernel", "kernel:", ":f", "kernel:f()", "a b:f"])
def test_what_names_no_function_is_refused(against: str) -> None:
    with pytest.raises(SubjectError):
        av.ghostwrite("causal", against=against)


def test_a_spec_that_cannot_be_named_is_refused() -> None:
    with pytest.raises(ParameterError, match="loads its spec by name"):
        av.ghostwrite(av.attention("mine"), against="kernel:f")


def test_a_framework_is_a_subjects() -> None:
    with pytest.raises(ParameterError, match="name it"):
        av.ghostwrite("causal", framework="torch")


def test_the_command_writes_the_same(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "attnverify", "ghostwrite", "causal", "--against", "kernel:f"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert shown.stdout == av.ghostwrite("causal", against="kernel:f")
    target = tmp_path / "test_kernel.py"
    subprocess.run([*command, "--output", str(target)], capture_output=True, check=True)
    assert target.read_text(encoding="utf-8") == shown.stdout
