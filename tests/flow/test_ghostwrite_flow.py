"""Written tests of gradient flow: right subjects pass, a wrong gradient fails its own."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import attnverify as av
from attnverify.errors import ParameterError, RefutedError
from attnverify.testing import Bounded, Trial
from tests.house import ROOT
from tests.test_ghostwrite import KERNEL, failed, run

FLOWS = """
from autograd.extend import defvjp, primitive
from autograd.tracer import getval

@primitive
def grown(x):
    return x
defvjp(grown, lambda ans, x: lambda g: 2 * g)

@primitive
def halved(x):
    return x
defvjp(halved, lambda ans, x: lambda g: g / 2)

def elman(x, h, w, keep=lambda h: h, **a):
    out = []
    for t in range(x.shape[1]):
        h = np.tanh(np.matmul(x[:, t], w.T) + np.matmul(keep(h), a["U"].T) + a["bias"])
        out.append(h)
    return np.stack(out, axis=1)

def elman_that_forgets(x, h, w, **a):
    return elman(x, h, w, keep=lambda h: np.array(getval(h)), **a)

def elman_that_grows(x, h, w, **a):
    return elman(x, h, w, keep=grown, **a)

def causal_of_half_the_values(q, k, v):
    return causal(q, k, halved(v))
"""


def written(folder: Path, spec: str, function: str, **choices: str) -> tuple[int, str]:
    (folder / "flows.py").write_text("from kernel import *\n" + FLOWS, encoding="utf-8")
    return run(folder, av.ghostwrite(spec, flow=True, against=f"flows:{function}", **choices))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spec", "function", "tests"),
    [("elman", "elman", 3), ("causal", "causal", 3)],
)
def test_a_right_subject_passes(spec: str, function: str, tests: int, tmp_path: Path) -> None:
    choices = {"activation": "tanh"} if spec == "elman" else {}
    status, output = written(tmp_path, spec, function, **choices)
    assert status == 0, output
    assert f"{tests} passed" in output


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spec", "function", "broken"),
    [
        ("elman", "elman_that_forgets", set()),
        ("elman", "elman_that_grows", {"each_step_shrinks_gradients"}),
        ("causal", "causal_of_half_the_values", {"values_get_the_whole_cotangent"}),
        ("causal", "causal_of_one_more", {"no_gradient_from_the_future"}),
    ],
)
def test_a_wrong_gradient_fails_what_it_breaks(
    spec: str, function: str, broken: set[str], tmp_path: Path
) -> None:
    choices = {"activation": "tanh"} if spec == "elman" else {}
    status, output = written(tmp_path, spec, function, **choices)
    assert status == 1, output
    assert failed(output) == broken | {"gradients_of_one_position_agree"}, output


def test_only_what_a_spec_allows_is_written() -> None:
    names = {
        spec: re.findall(r"^def test_(\w+)", av.ghostwrite(spec, flow=True), re.MULTILINE)
        for spec in ("global", "sigmoid", "gru")
    }
    assert names == {
        "global": ["gradients_of_one_position_agree", "values_get_the_whole_cotangent"],
        "sigmoid": ["gradients_of_one_position_agree"],
        "gru": ["gradients_of_one_position_agree", "no_gradient_from_the_future"],
    }


def test_the_text_is_short_and_says_what_it_is() -> None:
    text = av.ghostwrite("causal", flow=True, against="kernel:causal")
    told = ast.get_docstring(ast.parse(text)) or ""
    assert told.startswith("Properties of the gradient flow of kernel:causal")
    assert "import numpy" not in text
    assert max(map(len, text.splitlines())) <= 100


def test_a_spec_without_a_sequence_is_refused() -> None:
    with pytest.raises(ParameterError, match="from one position of a sequence"):
        av.ghostwrite("neighbourhood_2d", flow=True)


@pytest.mark.slow
def test_flow_can_be_written_for_every_spec_with_a_sequence() -> None:
    written_for = 0
    for name in av.catalog():
        try:
            compile(av.ghostwrite(name, flow=True), name, "exec")
            written_for += 1
        except ParameterError:
            continue
    assert written_for > 60


def test_the_command_writes_the_same() -> None:
    command = [sys.executable, "-m", "attnverify", "ghostwrite", "elman", "--flow"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert shown.stdout == av.ghostwrite("elman", flow=True)


# ---- The words that the tests are made of


def trial() -> Trial:
    space: dict[str, object] = {}
    exec(KERNEL, space)
    return Trial(space["causal"], "causal")  # type: ignore[arg-type]  # a function


def test_a_seeded_case_has_cotangents_at_one_position_alone() -> None:
    from attnverify.inputs import Draw

    subject = trial()
    case = Draw(subject.spec, dtype="float32").case(
        {"queries": 4, "keys": 4, "value_dim": 3}, seed=6
    )
    position, one = subject.seeded(case)
    assert position == 2
    assert np.flatnonzero(np.abs(one.cotangents["O"]).sum(axis=(0, 1, 3))).tolist() == [2]
    assert (one.cotangents["O"][:, :, 2] == case.cotangents["O"][:, :, 2]).all()
    assert subject.later(one, "K", 2)[0, 0].any(axis=-1).tolist() == [False] * 3 + [True]
    subject.gradient(one, "K").equals(0, where=subject.later(one, "K", 2))
    with pytest.raises(RefutedError):
        subject.gradient(one, "V").equals(0)


def test_sums_norms_and_bounds_of_answers() -> None:
    value = Bounded(np.array([[3.0, 4.0], [0.0, 1.0]]), np.full((2, 2), 0.5), ("time", "hidden"))
    assert value.summed("time").value.tolist() == [3.0, 5.0]
    assert value.summed("time").sigma.tolist() == [1.0, 1.0]
    assert value.norms("time").value.tolist() == [5.0, 1.0]
    exact = Bounded(value.value, np.zeros((2, 2)), value.axes)
    exact.norms("time").at_most(np.array([5.0, 1.0]))
    with pytest.raises(RefutedError, match="exceed"):
        exact.norms("time").at_most(np.array([4.99, 1.0]))
