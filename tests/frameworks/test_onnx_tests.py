"""Node tests in ONNX's format run where ONNX runs its own, and wrong attentions fail them.

The wrong ones are onnx's own reference with its products changed, so that they share nothing with
what chose the cases. ONNX's own cases have no negative entry, and let every one of them pass.
"""

from __future__ import annotations

import doctest
import itertools
import json
import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

pytestmark = pytest.mark.frameworks
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnx.reference")

from onnx.backend.test.loader import load_model_tests  # noqa: E402  what follows needs onnx
from onnx.backend.test.runner import Runner  # noqa: E402
from onnx.reference.ops import op_attention  # noqa: E402

import attnverify as av  # noqa: E402
from attnverify.cli import app  # noqa: E402
from attnverify.errors import LoadError, ParameterError, ReportError  # noqa: E402
from attnverify.onnx_tests.operators import OPERATORS  # noqa: E402
from tests.frameworks.onnx_cases import NODES, evaluated, operator, stored  # noqa: E402

Array = NDArray[Any]
PARAMETERS: dict[str, dict[str, Any]] = {"softcap": {"cap": 2.0}, "sliding_window": {"window": 3}}
MODELS = [
    "test_attention_3d_with_past_and_present_qk_matmul_bias",
    "test_attention_3d_with_past_and_present_qk_matmul_softcap",
    "test_attention_4d_with_qk_matmul_softmax",
    "test_attention_4d_gqa_causal_nonpad_decode",
    "test_attention_local_window_gqa_rank4_mask",
    "test_attention_local_window_ext_cache_rank3_head_mask",
    "test_linear_attention_linear",
    "test_linear_attention_gated_delta_gqa",
    "test_linear_attention_prefill_with_past",
    "test_rotary_embedding_3d_input",
    "test_rotary_embedding_with_interleaved_rotary_dim",
]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def written(source: Any, **how: Any) -> list[Any]:
    """The tests written for a source, as ONNX's own loader reads them."""
    shutil.rmtree("data", ignore_errors=True)
    folders = av.onnx_tests(source, "data/mine", **how)
    tests = sorted(load_model_tests("data", "mine"), key=lambda test: str(test.name))
    assert [test.name for test in tests] == [folder.name for folder in folders]
    return tests


def tensors(test: Any, kind: str) -> list[Array]:
    data = Path(test.model_dir, "test_data_set_0")
    found = sorted(data.glob(f"{kind}_*.pb"), key=lambda path: int(path.stem.partition("_")[2]))
    return [onnx.numpy_helper.to_array(onnx.load_tensor(str(path))) for path in found]


def passes(test: Any, outputs: list[Array] | None = None) -> bool:
    """Whether outputs, the reference evaluator's unless given, pass as ONNX compares."""
    model = onnx.load(f"{test.model_dir}/model.onnx")
    feeds = {v.name: a for v, a in zip(model.graph.input, tensors(test, "input"), strict=True)}
    got = list(evaluated(model, feeds).values()) if outputs is None else outputs
    try:
        Runner.assert_similar_outputs(tensors(test, "output"), got, test.rtol, test.atol)
    except AssertionError:
        return False
    return True


@pytest.mark.parametrize("name", OPERATORS)
def test_a_variant_is_written_and_runs(name: str) -> None:
    tests = written(name, **PARAMETERS.get(name, {}))
    assert len(tests) == 4
    for test in tests:
        assert passes(test), test.name
        told = json.loads(Path(test.model_dir, "data.json").read_text())
        assert (test.rtol, test.atol) == (told["rtol"], told["atol"])
        assert {"|Q|", "|K|", "|V|"} <= set(told["refutes"])


@pytest.mark.parametrize("name", MODELS)
def test_a_node_is_written_and_runs(name: str) -> None:
    for test in written(NODES[name].model, name="mine", cases=3):
        assert passes(test), test.name
        assert len(tensors(test, "output")) == len(NODES[name].model.graph.output)


@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_another_type_is_written_and_runs(dtype: str) -> None:
    for test in written("causal", dtype=dtype, cases=3):
        assert passes(test)
        assert {str(array.dtype) for array in tensors(test, "output")} == {dtype}


# ---- Wrong attentions fail what is written, and pass what ONNX has

Product = Callable[[Array, Array], Array]
right: Product = op_attention.numpy_matmul


def changed(scores: Callable[[Array], Array], values: Callable[[Array], Array]) -> Product:
    """The reference's two products: scores first, then weights with values."""
    count = itertools.count()

    def product(a: Array, b: Array) -> Array:
        return scores(right(a, b)) if next(count) % 2 == 0 else right(a, values(b))

    return product


def same(array: Array) -> Array:
    return array


WRONG: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {
    "relu(QK)": (lambda scores: np.maximum(scores, 0), same),
    "|QK|": (np.abs, same),
    "|V|": (same, np.abs),
}
ATTENTIONS = [name for name, found in OPERATORS.items() if found.op == "Attention"]


@pytest.fixture(params=WRONG)
def wrong(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(op_attention, "numpy_matmul", changed(*WRONG[request.param]))
    return str(request.param)


@pytest.mark.parametrize("name", ATTENTIONS)
def test_wrong_attentions_fail(name: str, wrong: str) -> None:
    tests = written(name, **PARAMETERS.get(name, {}))
    assert [test.name for test in tests if passes(test)] == [], wrong


def test_wrong_attentions_pass_what_onnx_has(wrong: str) -> None:
    names = [name for name in NODES if operator(name) == "Attention"]
    signed = [n for n in names if any((stored(n)[0][v] < 0).any() for v in "QKV")]
    passed = []
    for name in names:
        case, inputs = NODES[name], stored(name)[0]
        got = list(evaluated(case.model, inputs).values())
        Runner.assert_similar_outputs(list(stored(name)[1].values()), got, case.rtol, case.atol)
        passed.append(name)
    # A version of onnx that draws signed entries ends this test, and is welcome.
    assert (signed, passed) == ([], names), wrong


# ---- What is written is what was asked for


def test_what_is_written_depends_on_the_seed_alone() -> None:
    def contents(seed: int) -> dict[str, bytes]:
        shutil.rmtree("again", ignore_errors=True)
        av.onnx_tests("causal", "again", cases=2, seed=seed)
        files = sorted(path for path in Path("again").rglob("*") if path.is_file())
        return {str(path): path.read_bytes() for path in files}

    assert contents(0) == contents(0)
    assert contents(0) != contents(1)


def test_inputs_have_both_signs() -> None:
    for test in written("causal"):
        for array in tensors(test, "input"):
            assert (array < 0).any()
            assert (array > 0).any()


def test_a_tolerance_lets_every_bound_pass_and_not_much_more() -> None:
    for test in written("global"):
        (value,), (bound,) = tensors(test, "output"), tensors(test, "bound")
        assert passes(test, [(value + 0.9 * bound).astype("float32")])
        far = value.copy()
        far.flat[0] += 30 * bound.max()
        assert not passes(test, [far])


def test_sizes_are_kept_to() -> None:
    for test in written("causal", sizes={"key_dim": 8, "heads": [2]}, cases=2):
        assert {array.shape[1] for array in tensors(test, "input")} == {2}
        assert tensors(test, "input")[0].shape[-1] == 8


REFUSED: dict[str, tuple[Any, dict[str, Any], type[Exception], str]] = {
    "no operator": ("lstm", {}, ParameterError, "no operator of ONNX is known"),
    "an open parameter": ("softcap", {}, ParameterError, r"found: cap"),
    "another alignment": (
        "causal",
        {"align": "bottom_right"},
        ParameterError,
        "computes another function",
    ),
    "a mask of other axes": (
        "masked",
        {"broadcast": "heads"},
        ParameterError,
        "takes other inputs than this member",
    ),
    "another order of heads": (
        "grouped_query",
        {"head_map": "tile"},
        ParameterError,
        "computes another function",
    ),
    "no such name": ("globl", {}, LoadError, "no spec of this name"),
    "a type that the operator lacks": (
        NODES["test_rotary_embedding"].model,
        {"dtype": "float64"},
        ParameterError,
        r"RotaryEmbedding-23\n.*tensor\(double\)",
    ),
    "no such type": ("global", {"dtype": "float31"}, ParameterError, "float31"),
}


@pytest.mark.parametrize(("source", "how", "error", "words"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_written_is_refused_in_words(
    source: Any, how: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        av.onnx_tests(source, "data", **how)


def test_a_folder_that_cannot_be_written_is_told() -> None:
    Path("data").write_text("a file")
    with pytest.raises(ReportError, match="cannot be written"):
        av.onnx_tests("global", "data")


def test_the_examples_of_the_writer_are_true() -> None:
    modules = [import_module(f"attnverify.onnx_tests{part}") for part in ("", ".cases")]
    assert [doctest.testmod(module).failed for module in modules] == [0, 0]


def test_the_command_line_writes_the_same_folders() -> None:
    words = ["export", "sliding_window", "--to", "onnx-tests", "--set", "window=3", "-o", "node"]
    found = CliRunner().invoke(app, words)
    assert found.exit_code == 0, found.output
    folders = sorted(path for path in Path("node").iterdir() if path.is_dir())
    assert found.output.split() == [word for path in folders for word in ("test:", str(path))]
    due = {p.name: p.read_bytes() for p in folders[0].rglob("*.pb")}
    av.onnx_tests("sliding_window", "again", window=3)
    again = Path("again") / folders[0].name
    assert {p.name: p.read_bytes() for p in again.rglob("*.pb")} == due


@pytest.mark.parametrize("words", [[], ["--gradient", "-o", "node"]])
def test_node_tests_of_a_gradient_or_without_a_folder_are_refused(words: list[str]) -> None:
    found = CliRunner().invoke(app, ["export", "causal", "--to", "onnx-tests", *words])
    assert found.exit_code == 2
    assert "node tests of the forward pass are written to a folder" in found.output
