"""Exported files agree with the oracle and need one library; what they cannot do is refused."""

from __future__ import annotations

import ast
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import attnverify as av
from attnverify.algebra.primitives import PRIMITIVES
from attnverify.cli import app
from attnverify.errors import AttnverifyError, ParameterError, SpecError, UnknownPrimitiveError
from attnverify.export import LIBRARIES
from attnverify.export.dialects import PLAIN
from attnverify.export.file import library_file
from attnverify.export.numpy import NUMPY
from attnverify.inputs import Case
from attnverify.notation import Spec, axes, let, softmax, tensors, total
from attnverify.serial import from_json
from tests.exported import (
    FEW,
    apart,
    case_of,
    check_agrees,
    differs,
    due_of,
    every_function,
    opened,
)
from tests.members import MEMBERS, TITLES

batch, keys = axes("batch keys")
b, j = batch["b"], keys["j"]
X, O = tensors("X O")


def answers(text: str, spec: Spec, case: Case) -> dict[str, Any]:
    """What a NumPy file says to a case, forward and backward."""
    file = opened(text)
    given, keywords = file.given(case), file.keywords(case)
    forward = file.function()(*given, **keywords)
    backward = file.function("_gradient")(*given, *file.cotangents(case), **keywords)
    names = [*spec.outputs, *av.gradient(spec).outputs]
    return dict(zip(names, [*forward, *backward], strict=True))


@pytest.fixture(scope="module")
def run_apart(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What the files of the whole catalogue say where nothing but NumPy is installed."""
    return apart(tmp_path_factory.mktemp("files"), "numpy", av.catalog())


@pytest.mark.parametrize("name", av.catalog())
def test_every_numpy_file_agrees_with_the_oracle(
    name: str, run_apart: dict[str, dict[str, Any]]
) -> None:
    spec = av.load(name)
    check_agrees(run_apart[name], due_of(spec, case_of(spec)))


@pytest.mark.slow
@pytest.mark.parametrize("title", TITLES)
def test_every_member_agrees_with_the_oracle(title: str) -> None:
    spec = MEMBERS[title]
    case = case_of(spec)
    check_agrees(
        answers(av.export(spec, to="numpy", gradient=True), spec, case), due_of(spec, case)
    )


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("causal", "keep = j <= i", "keep = j < i"),
        ("causal", "times(A, dA - D", "times(A, dA + D"),
        ("global", "1/math.sqrt(n_key_dim)", "1/n_key_dim"),
        ("padding", "-math.inf", "-1.0"),
        ("lstm", "reversed(range(n_time))", "range(n_time)"),
        ("sparsemax", "axis=3) - 1)", "axis=3) - 0.99)"),
    ],
)
def test_a_broken_file_is_seen(name: str, right: str, wrong: str) -> None:
    spec = av.load(name)
    case, text = case_of(spec), av.export(name, to="numpy", gradient=True)
    assert right in text
    assert differs(answers(text.replace(right, wrong), spec, case), due_of(spec, case))


@pytest.mark.parametrize("rows", ["zeros", "uniform", "nan"])
@pytest.mark.parametrize("name", ["causal", "padding", "masked"])
def test_a_row_that_sees_no_key_follows_the_spec(name: str, rows: str) -> None:
    spec = av.load(name, empty_rows=rows, **({"align": "bottom_right"} if name == "causal" else {}))
    case = case_of(spec, {"queries": 4, "keys": 2}, empty=True)
    if name == "padding":
        case.arrays["lengths"][0] = 0
    if name == "masked":
        next(array for array in case.arrays.values() if array.dtype == bool)[..., 0, :] = False
    due = due_of(spec, case)
    check_agrees(answers(av.export(spec, to="numpy", gradient=True), spec, case), due)
    assert np.isnan(due["O"]).any() == (rows == "nan")


@pytest.mark.parametrize("garbage", [np.nan, np.inf])
def test_what_a_masked_slot_holds_reaches_nothing(garbage: float) -> None:
    spec = av.load("padding")
    case = case_of(spec, {"keys": 4})
    case.arrays["lengths"][:] = [2, 3]
    for name in "KV":
        case.arrays[name][0, :, 2:] = garbage
        case.arrays[name][1, :, 3:] = garbage
    got = answers(av.export(spec, to="numpy", gradient=True), spec, case)
    check_agrees(got, due_of(spec, case))
    assert all(np.isfinite(array).all() for array in got.values())


@pytest.mark.parametrize(
    "name",
    ["causal", "documents", "gated_linear", "kv_cache", "masked", "padding", "window_global"],
)
def test_nan_is_exactly_where_it_is_seen_from(name: str) -> None:
    spec = av.load(name)
    text = av.export(name, to="numpy", gradient=True)
    for entry in spec.inputs:
        case = case_of(spec)
        array = case.arrays[entry.tensor.name]
        if array.dtype.kind == "f":
            array[tuple(size // 2 for size in array.shape)] = np.nan
            due = due_of(spec, case)
            check_agrees(answers(text, spec, case), due)
            assert any(np.isnan(value).any() for value in due.values())


def test_several_outputs_are_a_tuple() -> None:
    spec = av.load("causal", outputs="O A L")
    case = case_of(spec)
    text = av.export(spec, to="numpy", gradient=True)
    check_agrees(answers(text, spec, case), due_of(spec, case))
    assert "return O, A, L" in text


# ---- What a file needs

ALLOWED = {
    "numpy": {"math", "numpy"},
    "torch": {"math", "torch"},
    "jax": {"math", "functools", "jax", "jax.numpy"},
}


@pytest.mark.parametrize("to", ALLOWED)
def test_a_file_imports_its_library_alone(to: str) -> None:
    for name in av.catalog():
        tree = ast.parse(av.export(name, to=to))
        found = {
            alias.name for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names
        }
        found |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert found <= ALLOWED[to], name


def test_a_file_that_needs_another_package_does_not_run_apart(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="attnverify is not installed"):
        apart(tmp_path, "numpy", ["global"], "import attnverify\n")


# ---- What stands in a file


def test_a_file_says_what_it_is() -> None:
    text = av.export("sliding_window", to="torch", gradient=True)
    told = ast.get_docstring(ast.parse(text)) or ""
    assert "K[b,h,j,k]: batch, heads, keys, key_dim; real" in told
    assert "window: an integer >= 1" in told
    assert "align = top_left" in told
    for line in av.gradient(av.load("sliding_window")).text().splitlines():
        assert line in text
    assert "class SlidingWindow(torch.autograd.Function):" in text
    assert "def sliding_window(Q, K, V, *, window):" in text


def test_a_parameter_that_is_set_is_no_keyword() -> None:
    assert "def sliding_window(Q, K, V):" in av.export("sliding_window", to="numpy", window=3)


def test_a_parameter_outside_its_domain_is_refused_by_the_file() -> None:
    spec = av.load("sliding_window")
    file = opened(av.export(spec, to="numpy", gradient=True))
    with pytest.raises(ValueError, match="window is an integer >= 1"):
        file.function()(*file.given(case_of(spec)), window=0)


def test_an_array_of_another_shape_is_refused_by_the_file() -> None:
    spec = av.load("global")
    file = opened(av.export(spec, to="numpy", gradient=True))
    given = file.given(case_of(spec))
    with pytest.raises(ValueError, match=r"K has shape \(2, 1, 4, 2\), due \(2, 2, 4, 2\)"):
        file.function()(given[0], given[1][:, :1], given[2])


def test_a_number_of_the_working_type_stays_one() -> None:
    for name in FEW:
        spec = av.load(name)
        case = case_of(spec).converted("float32")
        for answer in answers(av.export(name, to="numpy", gradient=True), spec, case).values():
            assert answer.dtype == np.float32, name


@pytest.mark.parametrize("name", ["alibi", "entmax15", "online_softmax"])
def test_whole_numbers_are_taken_as_real_ones(name: str) -> None:
    spec = av.load(name)
    case, file = case_of(spec), opened(av.export(name, to="numpy", gradient=True))
    given = [np.round(4 * array).astype(int) for array in file.given(case)]
    whole = file.function()(*given, **file.keywords(case))
    real = file.function()(*(array.astype(float) for array in given), **file.keywords(case))
    check_agrees({"O": whole[0]}, {"O": real[0]})


def test_every_function_has_a_form() -> None:
    spec = every_function()
    case = case_of(spec)
    check_agrees(
        answers(av.export(spec, to="numpy", gradient=True), spec, case), due_of(spec, case)
    )


@pytest.mark.parametrize("to", LIBRARIES)
def test_every_listed_function_has_a_form_in_every_library(to: str) -> None:
    built = {name for name, row in PRIMITIVES.items() if row.derivative is not None}
    assert built <= {*LIBRARIES[to].forms, *PLAIN}
    assert built - {"undefined"} <= {*LIBRARIES[to].forms}


# ---- What is refused


def test_another_kind_of_file_is_refused() -> None:
    with pytest.raises(ParameterError, match="numpy, torch, jax, latex, json"):
        av.export("causal", to="tensorflow")


def test_a_function_without_a_form_is_refused_by_name() -> None:
    forms = {name: form for name, form in NUMPY.forms.items() if name != "tanh"}
    with pytest.raises(UnknownPrimitiveError) as caught:
        library_file(av.load("softcap", cap=2), None, replace(NUMPY, forms=forms))
    assert caught.value.parts["spec"] == "softcap"
    assert caught.value.parts["equation"] == "S"
    assert caught.value.parts["hint"]


def test_a_name_that_the_file_has_for_itself_is_refused() -> None:
    (torch,) = tensors("torch")
    spec = Spec("mine", [torch[b, j]], [let(O[b, j], softmax(torch[b, j], over=j))], [O])
    assert "def mine(torch):" in av.export(spec, to="numpy")
    with pytest.raises(SpecError, match="rename it"):
        av.export(spec, to="torch")


@pytest.mark.parametrize("name", ["map", "range", "real", "times"])
def test_a_name_that_every_file_has_for_itself_is_refused(name: str) -> None:
    (x,) = tensors(name)
    spec = Spec("mine", [x[b, j]], [let(O[b, j], softmax(x[b, j], over=j))], [O])
    with pytest.raises(SpecError, match="rename it"):
        av.export(spec, to="numpy")


def test_a_spec_of_no_real_input_is_refused() -> None:
    spec = Spec("ones", [], [let(O[b], total(1, over=j))], [O])
    with pytest.raises(AttnverifyError, match="floating type"):
        av.export(spec, to="numpy")


def test_a_spec_with_the_name_of_a_module_has_another_function() -> None:
    spec = Spec("math", [X[b, j]], [let(O[b, j], softmax(X[b, j], over=j))], [O])
    assert "def math_attention(X):" in av.export(spec, to="numpy")


# ---- LaTeX, JSON, the command line


def test_latex_has_every_equation() -> None:
    text = av.export("causal", to="latex", gradient=True)
    for spec in (av.load("causal"), av.gradient(av.load("causal"))):
        assert all(line.replace(" = ", " &= ", 1) in text for line in spec.latex())


def test_json_is_read_back() -> None:
    spec = av.load("causal")
    assert from_json(av.export(spec, to="json")) == spec
    both = json.loads(av.export(spec, to="json", gradient=True))
    assert from_json(json.dumps(both["gradient"])) == av.gradient(spec)


def test_the_command_line_writes_the_same_text(tmp_path: Path) -> None:
    path = tmp_path / "mine" / "window.py"
    words = ["export", "sliding_window", "--to", "numpy", "--gradient", "--set", "window=3"]
    shown = CliRunner().invoke(app, words)
    assert shown.stdout == av.export("sliding_window", to="numpy", gradient=True, window=3)
    told = CliRunner().invoke(app, [*words, "-o", str(path)])
    assert told.stdout == f"file: {path}\n"
    assert path.read_text(encoding="utf-8") == shown.stdout


def test_the_command_line_refuses_in_a_sentence() -> None:
    told = CliRunner().invoke(app, ["export", "causal", "--to", "fortran"])
    assert told.exit_code == 2
    assert "an unknown kind of file" in told.stderr
    assert "onnx-tests" in told.stderr  # every kind is named
