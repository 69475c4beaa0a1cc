"""Exported PyTorch and JAX files agree with the oracle, and with the library's own derivatives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import attnverify as av
from attnverify.inputs import Case
from attnverify.spec import Spec
from tests.exported import (
    FEW,
    File,
    apart,
    case_of,
    check_agrees,
    differs,
    due_of,
    every_function,
    opened,
)
from tests.members import MEMBERS, TITLES

pytestmark = pytest.mark.frameworks
torch = pytest.importorskip("torch")
jax = pytest.importorskip("jax")

# Compiled at the least expense: the numbers are few and the programs many.
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
SOME = (
    "padding",
    "grouped_query",
    "sliding_window",
    "online_softmax",
    "entmax15",
    "t5_bias",
    "lstm",
)
SOME_AND_SLOW = [
    name if name in SOME else pytest.param(name, marks=pytest.mark.slow) for name in av.catalog()
]


@pytest.fixture(autouse=True)
def _in_float64() -> Any:
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


Answers = dict[str, Any]
Way = Callable[[File, Case, Spec, str], Answers]


def by_torch(file: File, case: Case, spec: Spec, suffix: str) -> Answers:
    """The outputs of a function, and the gradients that PyTorch gets for it."""
    given = file.given(case)
    real = [x.requires_grad_() for x in given if x.is_floating_point()]
    outputs = file.function(suffix)(*given, **file.keywords(case))
    gradients = torch.autograd.grad(
        outputs, real, file.cotangents(case), allow_unused=True, materialize_grads=True
    )
    arrays = [x.detach().numpy() for x in (*outputs, *gradients)]
    return dict(zip([*spec.outputs, *av.gradient(spec).outputs], arrays, strict=True))


def by_jax(file: File, case: Case, spec: Spec, suffix: str) -> Answers:
    """The outputs of a function, and the gradients that JAX gets for it, compiled."""
    given, keywords = file.given(case), file.keywords(case)
    real = [n for n, x in enumerate(given) if x.dtype == np.float64]

    def both(arrays: list[Any], cotangents: list[Any]) -> Any:
        def function(*some: Any) -> Any:
            whole = dict(enumerate(given)) | dict(zip(real, some, strict=True))
            return file.function(suffix)(*whole.values(), **keywords)

        outputs, back = jax.vjp(function, *arrays)
        return *outputs, *back(tuple(cotangents))

    arrays = jax.jit(both, compiler_options=QUICK)([given[n] for n in real], file.cotangents(case))
    return dict(zip([*spec.outputs, *av.gradient(spec).outputs], arrays, strict=True))


def torch_file(spec: Spec) -> File:
    return opened(av.export(spec, to="torch", gradient=True), torch.from_numpy)


def jax_file(spec: Spec) -> File:
    return opened(av.export(spec, to="jax", gradient=True), jax.numpy.asarray)


LIBRARIES: dict[str, tuple[Callable[[Spec], File], Way]] = {
    "torch": (torch_file, by_torch),
    "jax": (jax_file, by_jax),
}
LIBRARY = pytest.mark.parametrize("library", LIBRARIES)


def check_both(library: str, spec: Spec, case: Case) -> None:
    """Fail where the file, or the library's derivative of its forward, is not what is due."""
    write, answer = LIBRARIES[library]
    file, due = write(spec), due_of(spec, case)
    check_agrees(answer(file, case, spec, ""), due)
    check_agrees(answer(file, case, spec, "_forward"), due)


@pytest.mark.parametrize("name", av.catalog())
def test_every_torch_file_agrees_with_the_oracle_and_with_autograd(name: str) -> None:
    spec = av.load(name)
    check_both("torch", spec, case_of(spec))


@pytest.mark.slow
@pytest.mark.parametrize("title", TITLES)
def test_every_member_of_the_catalogue_agrees_in_torch(title: str) -> None:
    check_both("torch", MEMBERS[title], case_of(MEMBERS[title]))


@pytest.mark.parametrize("name", SOME_AND_SLOW)
def test_every_jax_file_agrees_with_the_oracle_and_with_its_vjp(name: str) -> None:
    spec = av.load(name)
    check_both("jax", spec, case_of(spec))


@LIBRARY
def test_every_function_has_a_form(library: str) -> None:
    check_both(library, every_function(), case_of(every_function()))


@LIBRARY
@pytest.mark.parametrize("rows", ["zeros", "uniform", "nan"])
def test_a_row_that_sees_no_key_follows_the_spec(library: str, rows: str) -> None:
    spec = av.load("causal", align="bottom_right", empty_rows=rows)
    case = case_of(spec, {"queries": 4, "keys": 2}, empty=True)
    write, answer = LIBRARIES[library]
    due = due_of(spec, case)
    check_agrees(answer(write(spec), case, spec, ""), due)
    assert np.isnan(due["O"]).any() == (rows == "nan")


@LIBRARY
def test_what_a_masked_slot_holds_reaches_nothing(library: str) -> None:
    spec = av.load("padding")
    case = case_of(spec)
    for name in "KV":
        for b, length in enumerate(case.arrays["lengths"]):
            case.arrays[name][b, :, length:] = np.nan
    write, answer = LIBRARIES[library]
    check_agrees(answer(write(spec), case, spec, ""), due_of(spec, case))


@LIBRARY
def test_a_wrong_backward_is_seen(library: str) -> None:
    spec = av.load("causal")
    case = case_of(spec)
    write, answer = LIBRARIES[library]
    file = write(spec)
    wrong = file.text.replace("times(A, dA - D", "times(A, dA + D")
    assert wrong != file.text
    assert differs(answer(opened(wrong, file.arrays), case, spec, ""), due_of(spec, case))


@LIBRARY
def test_several_outputs_have_a_gradient(library: str) -> None:
    spec = av.load("causal", outputs="O L")
    check_both(library, spec, case_of(spec))


def test_torch_files_run_where_nothing_of_ours_is_installed(tmp_path: Path) -> None:
    for name, got in apart(tmp_path, "torch", FEW).items():
        check_agrees(got, due_of(av.load(name), case_of(av.load(name))))


@pytest.mark.slow
@LIBRARY
def test_every_file_runs_where_nothing_of_ours_is_installed(library: str, tmp_path: Path) -> None:
    found = apart(tmp_path, library, av.catalog())
    for name, got in found.items():
        check_agrees(got, due_of(av.load(name), case_of(av.load(name))))
    assert len(found) == len(av.catalog())


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_file_that_needs_our_package_does_not_run_apart(library: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="attnverify is not installed"):
        apart(tmp_path, library, ["global"], "import attnverify\n")


@pytest.mark.parametrize("name", sorted({*FEW} - {"online_softmax", "gated_delta", "lstm"}))
def test_torch_files_make_their_arrays_where_the_inputs_lie(name: str) -> None:
    spec = av.load(name)
    case = case_of(spec)
    # A device that computes nothing refuses to mix with another; a loop would have to read from it.
    file = opened(torch_file(spec).text, lambda array: torch.from_numpy(array).to("meta"))
    given, keywords = file.given(case), file.keywords(case)
    found = file.function("_gradient")(*given, *file.cotangents(case), **keywords)
    assert {x.device.type for x in (*file.function()(*given, **keywords), *found)} == {"meta"}


def test_a_torch_file_can_be_differentiated_twice() -> None:
    spec = av.load("causal")
    file = torch_file(spec)
    given = [x.requires_grad_() for x in file.given(case_of(spec))]
    assert torch.autograd.gradgradcheck(lambda *arrays: file.function()(*arrays)[0], given)
