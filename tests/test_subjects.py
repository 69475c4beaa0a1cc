"""Wrapping: how a function is called, what it may return, and every fault told in words."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from autograd import numpy as anp

import attnverify as av
from attnverify.errors import MissingExtraError, ParameterError, SubjectError
from attnverify.subjects import Layout, SubjectFault, subject

Array = npt.NDArray[Any]
SIZES = {"batch": 2, "heads": 3, "queries": 4, "keys": 5, "key_dim": 6, "value_dim": 7}
Q = np.arange(2 * 3 * 4 * 6, dtype="float32").reshape(2, 3, 4, 6)
K = np.arange(2 * 3 * 5 * 6, dtype="float32").reshape(2, 3, 5, 6)
V = np.arange(2 * 3 * 5 * 7, dtype="float32").reshape(2, 3, 5, 7)
ARRAYS = {"Q": Q, "K": K, "V": V}


LAYOUTS: list[tuple[str | None, tuple[int, ...], tuple[int, ...]]] = [
    (None, (2, 3, 4, 6), (2, 3, 4, 7)),
    ("b h n d", (2, 3, 4, 6), (2, 3, 4, 7)),
    ("b n h d", (2, 4, 3, 6), (2, 4, 3, 7)),
    ("n b (h d)", (4, 2, 18), (4, 2, 21)),
    ("(b n) (h d)", (8, 18), (8, 21)),
]


@pytest.mark.parametrize(("pattern", "inside", "outside"), LAYOUTS)
def test_layouts_go_out_and_come_back(
    pattern: str | None, inside: tuple[int, ...], outside: tuple[int, ...]
) -> None:
    layout = Layout(av.load("global"), pattern)
    laid = layout.outward("Q", Q)
    assert laid.shape == layout.shape("Q", SIZES) == inside
    assert layout.shape("O", SIZES) == outside
    assert laid.flags.c_contiguous
    np.testing.assert_array_equal(layout.inward("Q", laid, SIZES), Q)


@pytest.mark.parametrize("pattern", ["b h n d", "b n h d"])
def test_a_subject_that_writes_to_its_inputs_is_told_and_harms_none(pattern: str) -> None:
    def spoiling(q: Any, k: Any, v: Any) -> Any:
        q[...] = 7
        return v

    one = np.zeros((1, 1, 2, 3))
    wrapped = subject(spoiling, av.load("global"), layout=pattern, dtype="float64")
    with pytest.raises(SubjectFault, match="changed its input Q"):
        wrapped.forward({"Q": one, "K": one, "V": one}, {})
    assert not one.any()


def test_product_axes_have_one_letter() -> None:
    layout = Layout(av.load("grouped_query"), "b n (h d)")
    sizes = {**SIZES, "group": 2, "repeat": 3}
    assert layout.shape("Q", sizes) == (2, 4, 36)
    assert layout.shape("K", sizes) == (2, 5, 12)


def test_arrays_of_other_letters_keep_the_order_of_the_spec() -> None:
    layout = Layout(av.load("masked"), "b n h d")
    assert layout.pattern("mask") == "b h n n"
    assert layout.shape("mask", SIZES) == (2, 3, 4, 5)


def test_a_layout_per_array() -> None:
    layout = Layout(av.load("additive"), {"Q": "n b d"})
    sizes = {**SIZES, "hidden": 2, "align": 3}
    assert layout.shape("Q", sizes) == (4, 2, 6)
    assert layout.shape("V", sizes) == (2, 5, 7)


BAD_LAYOUTS: list[tuple[Any, str]] = [
    ("b n d", "b h n d"),
    ("b h n d e", "fits no input"),
    ("b n (h d", "parentheses do not match"),
    ("b n h) d", "parentheses do not match"),
    ({"X": "b n"}, "unknown array"),
    ({"Q": "b n"}, "does not fit Q"),
]


@pytest.mark.parametrize(("pattern", "words"), BAD_LAYOUTS)
def test_layouts_that_do_not_fit_are_refused(pattern: Any, words: str) -> None:
    with pytest.raises(ParameterError, match=words.replace("(", r"\(")):
        Layout(av.load("global"), pattern)


def wrapped(fn: Callable[..., Any], spec: str = "global", **settings: Any) -> Any:
    return subject(fn, av.load(spec), **settings)


def test_the_first_three_inputs_go_by_position_and_the_rest_by_name() -> None:
    seen: dict[str, Any] = {}

    def spy(*args: Any, **keywords: Any) -> Array:
        seen.update(args=args, keywords=keywords)
        return np.zeros((2, 3, 4, 7), np.float32)

    mask = np.ones((2, 3, 4, 5), bool)
    wrapped(spy, "masked", inputs={"mask": "keep"}, kwargs={"scale": 2}).forward(
        {**ARRAYS, "mask": mask}, {}
    )
    assert [a.shape for a in seen["args"]] == [Q.shape, K.shape, V.shape]
    assert list(seen["keywords"]) == ["keep", "scale"]
    np.testing.assert_array_equal(seen["keywords"]["keep"], mask)


def test_mapped_inputs_and_open_parameters_go_by_keyword() -> None:
    seen: dict[str, Any] = {}

    def spy(query: Array, value: Array, key: Array, size: int) -> Array:
        seen.update(query=query, key=key, value=value, size=size)
        return np.zeros((2, 3, 4, 7), np.float32)

    names = {"Q": "query", "K": "key", "V": "value", "window": "size"}
    wrapped(spy, "sliding_window", inputs=names).forward(ARRAYS, {"window": 5})
    np.testing.assert_array_equal(seen["key"], K)
    np.testing.assert_array_equal(seen["value"], V)
    assert seen["size"] == 5


def test_an_unknown_input_in_the_name_mapping_is_refused() -> None:
    with pytest.raises(ParameterError, match="found: query"):
        wrapped(len, inputs={"query": "Q"})


OUT = np.zeros((2, 3, 4, 7), np.float32)
RETURNS: list[tuple[Any, tuple[str | None, ...], set[str]]] = [
    (OUT, (), {"O"}),
    ({"O": OUT, "other": 1}, (), {"O"}),
    ((OUT, OUT), ("O", None), {"O"}),
    ([OUT, OUT], (None, "O"), {"O"}),
]


@pytest.mark.parametrize(("value", "outputs", "names"), RETURNS)
def test_what_is_returned_gets_the_names_of_the_spec(
    value: Any, outputs: tuple[str | None, ...], names: set[str]
) -> None:
    assert set(wrapped(lambda *_: value, outputs=outputs).forward(ARRAYS, {})) == names


class Returned(NamedTuple):
    out: Any
    lse: Any


PLACES: list[tuple[Any, dict[str, str | int]]] = [
    ((1, OUT), {"O": 1}),
    (OUT, {"O": 0}),
    ({"out": OUT, "lse": 1}, {"O": "out"}),
    (Returned(OUT, 1), {"O": "out"}),
]


@pytest.mark.parametrize(("value", "outputs"), PLACES)
def test_an_output_is_found_at_its_place(value: Any, outputs: dict[str, str | int]) -> None:
    found = wrapped(lambda *_: value, outputs=outputs).forward(ARRAYS, {})
    assert found["O"].shape == OUT.shape


NO_PLACES: list[tuple[Any, dict[str, str | int], str]] = [
    ((OUT, 1), {"O": 2}, "returned 2 values, due one at 2"),
    ((OUT, 1), {"O": -1}, "due one at -1"),
    ({"out": OUT}, {"O": "o"}, "a mapping without o; it has out"),
    (Returned(OUT, 1), {"O": "o"}, "without o"),
]


@pytest.mark.parametrize(("value", "outputs", "words"), NO_PLACES)
def test_an_output_that_is_not_at_its_place_is_a_fault(
    value: Any, outputs: dict[str, str | int], words: str
) -> None:
    with pytest.raises(SubjectFault, match=words):
        wrapped(lambda *_: value, outputs=outputs).forward(ARRAYS, {})


def test_an_output_that_the_spec_does_not_compute_is_refused() -> None:
    with pytest.raises(ParameterError, match="found: LSE"):
        wrapped(len, outputs=("LSE",))


def test_numpy_has_no_other_device() -> None:
    with pytest.raises(ParameterError, match="lie on the CPU"):
        wrapped(len, device="cuda")


def raises(*_: Any) -> Any:
    raise ValueError("heads must be a power of two\nand more")


def leaves(*_: Any) -> Any:
    sys.exit(3)


def changes(q: Array, _k: Array, _v: Array) -> Array:
    q += 1
    return OUT


def too_few() -> None:
    """Takes no arguments at all."""


FAULTS: list[tuple[Callable[..., Any], str, bool]] = [
    (raises, "the subject raised ValueError: heads must be a power of two", False),
    (leaves, "the subject raised SystemExit: 3", False),
    (changes, "the subject changed its input Q in place", False),
    (too_few, "the subject raised TypeError: too_few() takes 0 positional arguments", True),
    (lambda *_: None, "the subject returned a builtins.NoneType for O, due a NumPy array", False),
    (lambda *_: (OUT, OUT), "the subject returned 2 values, due 1: O", False),
    (lambda *_: {"out": OUT}, "the subject returned a mapping without O; it has out", False),
]


@pytest.mark.parametrize(("fn", "words", "misuse"), FAULTS)
def test_faults_are_told_in_words(fn: Callable[..., Any], words: str, misuse: bool) -> None:
    with pytest.raises(SubjectFault) as caught:
        wrapped(fn).forward(ARRAYS, {})
    assert str(caught.value).startswith(words)
    assert caught.value.misuse is misuse


def test_a_fault_names_the_line_that_raised() -> None:
    with pytest.raises(SubjectFault, match=r"\(test_subjects.py, line \d+\)"):
        wrapped(raises).forward(ARRAYS, {})


def test_an_interrupt_is_not_the_subject_s_fault() -> None:
    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        wrapped(interrupted).forward(ARRAYS, {})


def test_a_later_call_cannot_change_an_earlier_answer() -> None:
    kept = OUT.copy()

    def reuses(*_: Any) -> Array:
        kept[...] += 1
        return kept

    judged = wrapped(reuses)
    first = judged.forward(ARRAYS, {})["O"]
    judged.forward(ARRAYS, {})
    assert (first == 1).all()


def test_the_subject_s_warnings_are_its_own() -> None:
    def warns(*_: Any) -> Array:
        warnings.warn("careful", stacklevel=1)
        return OUT

    assert wrapped(warns).forward(ARRAYS, {})["O"].shape == OUT.shape


def test_what_is_no_function_is_refused() -> None:
    with pytest.raises(SubjectError, match="found: int"):
        wrapped(3)  # type: ignore[arg-type]  # what is tested


def test_an_unknown_framework_is_refused() -> None:
    with pytest.raises(ParameterError, match="numpy, torch, jax"):
        wrapped(len, framework="theano")


@pytest.mark.parametrize(("framework", "module"), [("torch", "torch"), ("jax", "jax")])
def test_a_framework_that_is_not_installed_is_named_with_its_extra(
    framework: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, f"attnverify.subjects.{framework}", raising=False)
    with pytest.raises(MissingExtraError, match=rf"attnverify\[{framework}\]"):
        wrapped(len, framework=framework)


def test_bfloat16_keeps_every_bit() -> None:
    values = np.array([1, -0.0, np.inf, 3.1415], ml_dtypes.bfloat16).reshape(1, 1, 1, 4)
    seen = wrapped(lambda q, _k, _v: q, dtype="bfloat16").forward(
        {"Q": values, "K": values, "V": values}, {}
    )
    assert seen["O"].dtype == ml_dtypes.bfloat16
    assert seen["O"].tobytes() == values.tobytes()


# Backward

SMALL = {name: np.ones((1, 1, 2, 3), np.float32) * n for n, name in enumerate("QKV", start=1)}
SEED = {"O": np.ones((1, 1, 2, 3), np.float32)}


def traceable(q: Any, k: Any, v: Any) -> Any:
    return anp.tanh(q) * v + k


def test_autograd_numpy_is_differentiated_by_autograd() -> None:
    judged = wrapped(traceable)
    assert judged.backward_reason(SMALL, {}) == ""
    outputs, slopes = judged.backward(SMALL, SEED, {})
    np.testing.assert_allclose(slopes["V"], np.tanh(SMALL["Q"]), rtol=1e-6)
    np.testing.assert_array_equal(slopes["K"], SEED["O"])
    np.testing.assert_allclose(outputs["O"], np.tanh(1) * 3 + 2, rtol=1e-6)


def untraceable(q: Array, _k: Array, v: Array) -> Array:
    return np.where(q > 0, np.asarray(q, float), 0).astype(q.dtype) * v


def cut_off(q: Array, _k: Array, _v: Array) -> Array:
    return np.zeros(q.shape, q.dtype)


@pytest.mark.parametrize("fn", [untraceable, cut_off])
def test_without_a_trace_backward_is_not_judged_and_that_is_said(fn: Callable[..., Any]) -> None:
    assert "no VJP was given" in wrapped(fn).backward_reason(SMALL, {})


def by_order(d_out: Array, _q: Array, _k: Array, _v: Array) -> tuple[Array, ...]:
    return d_out, 2 * d_out, 3 * d_out


def by_name(d_out: Array, *_: Array) -> dict[str, Array]:
    return {"dV": 3 * d_out, "K": 2 * d_out, "dQ": d_out}


@pytest.mark.parametrize("vjp", [by_order, by_name])
def test_a_given_vjp_is_asked(vjp: Callable[..., Any]) -> None:
    judged = wrapped(untraceable, vjp=vjp)
    assert judged.backward_reason(SMALL, {}) == ""
    outputs, slopes = judged.backward(SMALL, SEED, {})
    assert outputs == {}
    assert [float(slopes[name].max()) for name in "QKV"] == [1.0, 2.0, 3.0]


def test_a_vjp_with_too_few_gradients_is_a_fault() -> None:
    with pytest.raises(SubjectFault, match="returned 1 gradients, due 3: Q, K, V"):
        wrapped(untraceable, vjp=lambda d_out, *_: d_out).backward(SMALL, SEED, {})


def test_gradients_come_back_in_the_layout_of_their_input() -> None:
    def vjp(d_out: Array, q: Array, k: Array, v: Array) -> Mapping[str, Array]:
        assert d_out.shape == (2, 4, 21)
        return {"Q": q, "K": k, "V": v}

    judged = wrapped(lambda *_: OUT, layout="b n (h d)", vjp=vjp)
    _, slopes = judged.backward(ARRAYS, {"O": OUT}, {})
    assert slopes["Q"].shape == (2, 4, 18)
    np.testing.assert_array_equal(judged.plan.layout.inward("Q", slopes["Q"], SIZES), Q)
