"""The compiled oracle against the exact interpreter, and what it says to arrays that do not fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnverify import compile, gradient, load, tangent  # noqa: A004  the fixed public name
from attnverify.attention import attention
from attnverify.compare import require
from attnverify.compare import within as compared
from attnverify.compile import Oracle
from attnverify.compile.lower import lower
from attnverify.compile.run import run
from attnverify.compile.sizes import bind
from attnverify.errors import ParameterError, RefutedError, ShapeError, UnknownPrimitiveError
from attnverify.exact import evaluate
from attnverify.notation import (
    Spec,
    axes,
    eq,
    exp,
    larger,
    let,
    log,
    position,
    previous,
    recur,
    smaller,
    stop_gradient,
    tanh,
    tensors,
    total,
    where,
)
from attnverify.provers.disturbed import UNIT, disturb
from attnverify.provers.draws import STYLES, Case, cases, draw
from attnverify.verdict import Status
from tests.drawn import plain
from tests.members import MEMBERS, TITLES

SIZES = {
    "batch": 2,
    "heads": 2,
    "group": 2,
    "repeat": 3,
    "queries": 3,
    "keys": 4,
    "time": 4,
    "key_dim": 2,
    "value_dim": 3,
    "model": 2,
    "hidden": 3,
    "align": 2,
}


def case(spec: Spec, style: str = "normal", seed: int = 3, **sizes: int) -> Case:
    """A case at small unequal sizes."""
    return Case(
        spec.fitted({a.name: {**SIZES, **sizes}.get(a.name, 2) for a in spec.axes}),
        {p.name: plain(p) for p in spec.parameters},
        style,
        seed,
    )


def _moved(oracle: Oracle, arrays: Mapping[str, Any], drawn: Case, number: int) -> dict[str, Any]:
    """The outputs when every operation is disturbed by one unit roundoff of float64."""
    hook = disturb(UNIT, number)
    return run(oracle.recipe, arrays, drawn.sizes, drawn.parameters, "longdouble", hook=hook)


def expect(spec: Spec, drawn: Case) -> None:
    """The compiled outputs agree with the exact ones within ten times what rounding moves them."""
    arrays = draw(spec, drawn)
    oracle = compile(spec)
    found = oracle(**arrays, **drawn.parameters, sizes=drawn.sizes)
    due = evaluate(spec, arrays, dict(drawn.parameters), sizes=dict(drawn.sizes))
    moves = [_moved(oracle, arrays, drawn, number) for number in range(6)]
    for name, value in found.items():
        exact = due[name].astype(np.longdouble)
        verdict = compared(name, value, exact, _bound([move[name] for move in moves], exact))
        assert verdict.status is Status.HELD, f"{drawn}: {verdict.detail}"


def _bound(moves: list[Any], exact: Any) -> Any:
    """Ten times how far rounding moves an entry and all entries on average; 0 where undefined."""
    spread = np.nan_to_num(np.max([np.abs(move - exact) for move in moves], axis=0).astype(float))
    return 10 * (spread + spread.mean())


@pytest.mark.parametrize("title", TITLES)
@pytest.mark.parametrize("form", ["forward", "gradient", "tangent"])
def test_compiled_specs_agree_with_the_exact_interpreter(title: str, form: str) -> None:
    spec = MEMBERS[title]
    made = {"forward": lambda s: s, "gradient": gradient, "tangent": tangent}[form](spec)
    expect(made, case(made))


@given(st.data(), st.sampled_from(TITLES))
def test_compiled_specs_agree_at_drawn_shapes_and_styles(data: st.DataObject, title: str) -> None:
    spec = MEMBERS[title]
    expect(spec, data.draw(cases(spec, STYLES[:4], 3)))


@pytest.mark.parametrize("title", TITLES)
def test_source_and_recipe_run_to_the_same_numbers(title: str) -> None:
    spec = gradient(MEMBERS[title])
    oracle, drawn = compile(spec), case(spec, "peaked")
    arrays = draw(spec, drawn)
    printed = oracle(**arrays, **drawn.parameters, sizes=drawn.sizes)
    stepped = run(oracle.recipe, arrays, drawn.sizes, drawn.parameters)
    moves = [_moved(oracle, arrays, drawn, number) for number in range(6)]
    assert printed.keys() == stepped.keys()
    for name, value in printed.items():
        size = float(np.abs(value).max()) + 1
        bound = 1e3 * UNIT * size + _bound([move[name] for move in moves], stepped[name])
        require(name, value, _due(stepped[name], bound))


def _due(value: Any, bound: Any) -> Any:
    from attnverify.compare import Due

    return Due(
        np.asarray(value),
        np.broadcast_to(bound, np.shape(value)),
        tuple(f"axis{n}" for n in range(np.ndim(value))),
    )


def test_a_wrong_program_is_seen_by_the_comparison() -> None:
    spec = load("causal")
    drawn = case(spec)
    arrays = draw(spec, drawn)
    with pytest.raises(RefutedError):
        require(
            "O", compile(load("global"))(**arrays)["O"], _due(compile(spec)(**arrays)["O"], UNIT)
        )


k, q = axes("keys queries")
j, i = k["j"], q["i"]
x, y, z, s = tensors("x y z s")

FORMS: Mapping[str, tuple[Spec, Mapping[str, Any]]] = {
    "log of a sum of exponentials": (
        Spec("lse", [x[j]], [let(y[()], log(total(exp(x[j]), over=j)))], [y]),
        {"x": np.array([900.0, 901.0])},
    ),
    "a sink beside a sum of exponentials": (
        Spec(
            "sink",
            [x[j], s[()]],
            [let(z[()], total(exp(x[j]), over=j) + exp(s[()])), let(y[j], exp(x[j]) / z[()])],
            [y],
        ),
        {"x": np.array([800.0, 795.0]), "s": np.array(799.0)},
    ),
    "one plus a sum of exponentials": (
        Spec("plus_one", [x[j]], [let(y[j], exp(x[j]) / (1 + total(exp(x[j]), over=j)))], [y]),
        {"x": np.array([-3.0, 710.0])},
    ),
    "a diagonal": (
        Spec("diagonal", [x[k["a"], j]], [let(y[j], x[j, j])], [y]),
        {"x": np.arange(9.0).reshape(3, 3)},
    ),
    "positions": (
        Spec("positions", [x[j]], [let(y[j], (position(j) ** 2 - 2 * j + 1) * x[j])], [y]),
        {"x": np.array([1.0, 2.0, -1.0])},
    ),
    "a delta under a sum": (
        Spec("delta", [x[j]], [let(y[()], total(where(eq(j, 1)) * x[j], over=j))], [y]),
        {"x": np.array([4.0, 5.0])},
    ),
    "an exponential read inside a recurrence": (
        Spec(
            "grown",
            [x[j]],
            [
                let(y[j], exp(x[j])),
                recur(along=j, initial={z: 0}, steps=[let(z[j], previous(z[j]) + y[j])]),
            ],
            [z],
        ),
        {"x": np.array([0.5, -1.0, 2.0])},
    ),
    "a constant": (Spec("constant", [x[j]], [let(y[j], 2)], [y]), {"x": np.ones(3)}),
    "an input as the output": (Spec("same", [x[j]], [], [x]), {"x": np.ones(3)}),
    "a power": (
        Spec("power", [x[j]], [let(y[j], tanh(x[j]) ** 3 / (1 + x[j] ** 2))], [y]),
        {"x": np.array([0.5, -2.0])},
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_forms_of_expression_agree_with_the_exact_interpreter(name: str) -> None:
    spec, arrays = FORMS[name]
    found = compile(spec)(**arrays)
    due = evaluate(spec, arrays)
    for out, value in found.items():
        exact = due[out].astype(float)
        assert compared(out, value, exact, 64 * UNIT * (np.abs(exact) + 1)).status is Status.HELD


def test_an_output_does_not_share_memory_with_an_input() -> None:
    spec, arrays = FORMS["an input as the output"]
    given = np.array(arrays["x"])
    compile(spec)(x=given)["x"][0] = 7
    assert given[0] == 1


def test_inputs_are_left_as_they_are() -> None:
    spec = gradient(load("sliding_window"))
    drawn = case(spec)
    arrays = draw(spec, drawn)
    before = {name: array.copy() for name, array in arrays.items()}
    compile(spec)(**arrays, window=2)
    assert all((before[name] == array).all() for name, array in arrays.items())


@pytest.mark.parametrize("style", ["peaked"])
def test_large_logits_do_not_overflow(style: str) -> None:
    spec = load("global")
    arrays = {name: 1e3 * array for name, array in draw(spec, case(spec, style)).items()}
    assert np.isfinite(compile(spec)(**arrays)["O"]).all()


def test_masked_nan_and_inf_do_not_reach_the_output_and_visible_ones_do() -> None:
    spec = load("causal")
    drawn = case(spec, queries=4)
    arrays = draw(spec, drawn)
    clean = compile(spec)(**arrays)["O"]
    arrays["K"][0, 0, 2, 0] = np.nan
    arrays["V"][0, 0, 3, 1] = np.inf
    found = compile(spec)(**arrays)["O"]
    assert np.isnan(found[0, 0, 2]).all()
    assert np.isnan(found[0, 0, 3]).all()
    assert (found[0, 0, :2] == clean[0, 0, :2]).all()
    assert (found[1] == clean[1]).all()
    arrays = draw(spec, drawn)
    arrays["V"][0, 0, 3, 1] = np.inf
    found = compile(spec)(**arrays)["O"]
    assert np.isnan(found[0, 0, 3, 1])
    assert (found[0, 0, :3] == clean[0, 0, :3]).all()
    assert np.isfinite(found[0, 0, 3, 0])


def test_a_recurrence_passes_nan_on_from_its_step() -> None:
    spec = load("linear", causal=True, form="recurrent")
    arrays = draw(spec, case(spec))
    arrays["K"][0, 0, 2, 0] = np.nan
    found = compile(spec)(**arrays)["O"]
    assert np.isfinite(found[0, 0, :2]).all()
    assert np.isnan(found[0, 0, 2:]).all()
    assert np.isfinite(found[1]).all()


def test_an_empty_row_gives_zero() -> None:
    spec = load("masked")
    arrays = draw(spec, case(spec))
    arrays["mask"][:] = False
    assert (compile(spec)(**arrays)["O"] == 0).all()
    grad = gradient(spec)
    arrays = {**draw(grad, case(grad)), "mask": arrays["mask"]}
    assert all((value == 0).all() for value in compile(grad)(**arrays).values())


@pytest.mark.parametrize("axis", ["keys", "queries", "batch"])
def test_an_axis_of_size_zero_is_allowed(axis: str) -> None:
    spec = load("causal")
    drawn = case(spec)
    drawn = replace(drawn, sizes={**drawn.sizes, axis: 0})
    found = compile(spec)(**draw(spec, drawn))["O"]
    assert found.shape == tuple(drawn.sizes[a] for a in ("batch", "heads", "queries", "value_dim"))
    assert (found == 0).all()


@pytest.mark.parametrize("dtype", ["float32", "longdouble"])
def test_other_dtypes_are_kept(dtype: str) -> None:
    spec = gradient(load("sliding_window"))
    found = compile(spec, dtype=dtype)(**draw(spec, case(spec)), window=2)
    assert {value.dtype for value in found.values()} == {np.dtype(dtype)}


def test_quotients_of_sizes_are_of_the_working_precision() -> None:
    """A third in double precision is off by 1.9e-17, which a compared gradient would show."""
    (keys,) = axes("keys")
    x, y = tensors("x y")
    j = keys["j"]
    for scale in (-1 / keys.size, -2 * keys.size / 9, (j + 1) / keys.size):
        spec = Spec("scaled", [x[j]], [let(y[j], scale * x[j])], [y])
        found = compile(spec, dtype="longdouble")(x=np.ones(3, np.longdouble))["y"]
        exact = [np.longdouble(round(float(v) * 3)) / 3 for v in found]
        np.testing.assert_array_almost_equal_nulp(found, np.array(exact), nulp=1)


def test_the_source_reads_like_numpy() -> None:
    source = compile(load("global")).source
    assert "np.matmul(S, V)" in source
    assert source.startswith("def global_attention(Q, K, V, ")


WRONG_CALLS: Mapping[str, tuple[str, dict[str, Any], type[Exception], str]] = {
    "missing input": ("global", {"Q": np.ones((1, 1, 2, 3))}, ShapeError, "missing K, V"),
    "unknown input": (
        "global",
        {**{n: np.ones((1, 1, 2, 3)) for n in "QKV"}, "R": 1},
        ShapeError,
        "unknown R",
    ),
    "wrong rank": (
        "global",
        {"Q": np.ones((2, 3)), "K": np.ones((1, 1, 2, 3)), "V": np.ones((1, 1, 2, 3))},
        ShapeError,
        "batch, heads, queries, key_dim",
    ),
    "axes that disagree": (
        "global",
        {"Q": np.ones((1, 1, 2, 4)), "K": np.ones((1, 1, 2, 3)), "V": np.ones((1, 1, 2, 3))},
        ShapeError,
        "key_dim = 4, as in sizes or the arrays before",
    ),
    "heads that do not split": (
        "grouped_query",
        {"Q": np.ones((1, 3, 2, 4)), "K": np.ones((1, 2, 2, 4)), "V": np.ones((1, 2, 2, 4))},
        ShapeError,
        "a multiple of 2",
    ),
    "complex input": (
        "global",
        {
            "Q": np.ones((1, 1, 2, 3), complex),
            "K": np.ones((1, 1, 2, 3)),
            "V": np.ones((1, 1, 2, 3)),
        },
        ShapeError,
        "Q of dtype complex128",
    ),
    "real mask": (
        "masked",
        {**{n: np.ones((1, 1, 2, 3)) for n in "QKV"}, "mask": np.ones((1, 1, 2, 2))},
        ShapeError,
        "mask of dtype float64",
    ),
    "open parameter": (
        "sliding_window",
        {n: np.ones((1, 1, 2, 3)) for n in "QKV"},
        ParameterError,
        "window",
    ),
    "parameter outside": (
        "sliding_window",
        {**{n: np.ones((1, 1, 2, 3)) for n in "QKV"}, "window": 0},
        ParameterError,
        ">= 1",
    ),
}


@pytest.mark.parametrize("name", WRONG_CALLS)
def test_a_wrong_call_is_told_in_words(name: str) -> None:
    spec, arguments, error, words = WRONG_CALLS[name]
    with pytest.raises(error) as raised:
        compile(load(spec))(**arguments)
    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"backend": "fortran"}, "due: numpy, autograd, torch, jax"),
        ({"dtype": "float16"}, "'float64'"),
    ],
)
def test_wrong_settings_are_told_in_words(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ParameterError) as raised:
        compile(load("global"), **arguments)
    assert words in str(raised.value)
    with pytest.raises(ParameterError):
        compile("global")  # type: ignore[arg-type]  # a name is not a spec


def test_a_wrong_split_of_a_known_axis_is_told() -> None:
    spec = load("grouped_query")
    with pytest.raises(ShapeError) as raised:
        bind(
            spec.replace(inputs=spec.inputs),
            {"Q": (1, 4, 2, 3), "K": (1, 0, 2, 3), "V": (1, 0, 2, 3)},
        )
    assert "does not split" in str(raised.value)


def test_operations_that_no_back_end_knows_raise_by_name() -> None:
    from dataclasses import replace

    recipe = lower(attention("plain"))
    odd = replace(
        recipe,
        ops=tuple(replace(op, kind="weave") if op.kind == "contract" else op for op in recipe.ops),
    )
    arrays = {n: np.ones((1, 1, 2, 3)) for n in "QKV"}
    sizes = bind(load("global"), {n: a.shape for n, a in arrays.items()})
    with pytest.raises(UnknownPrimitiveError, match="weave"):
        run(odd, arrays, sizes, {})
    from attnverify.compile.source import Printer

    with pytest.raises(UnknownPrimitiveError, match="weave"):
        Printer().function(odd)
    strange = replace(
        recipe,
        ops=tuple(replace(op, detail="braid") if op.detail == "exp" else op for op in recipe.ops),
    )
    with pytest.raises(UnknownPrimitiveError, match="braid"):
        run(strange, arrays, sizes, {})
    with pytest.raises(UnknownPrimitiveError, match="braid"):
        Printer().function(strange)


def test_the_recipe_prints_one_line_an_operation() -> None:
    text = str(lower(load("linear", causal=True, form="recurrent")))
    assert "S_2" not in text
    assert "loop" in text
    assert "contract" in text


J, L = axes("keys")[0]["j"], axes("keys")[0]["l"]
MATRIX, VECTOR, RESULT = tensors("W X O")
v = VECTOR[J]

ALIASES: dict[str, Callable[[], Any]] = {
    "a constant": lambda: stop_gradient(v) * 2 * v,
    "a diagonal": lambda: MATRIX[J, J] * v * total(MATRIX[J, L], L),
    "a constant of what is written over": lambda: (
        stop_gradient(tanh(v)) * v + exp(tanh(v)) * stop_gradient(tanh(v))
    ),
}


@pytest.mark.parametrize("name", ALIASES)
def test_what_is_read_under_two_names_is_not_written_over(name: str) -> None:
    spec = Spec("alias", [MATRIX[J, L], v], [let(RESULT[J], ALIASES[name]())], [RESULT])
    drawn = case(spec)
    arrays = draw(spec, drawn)
    kept = {key: value.copy() for key, value in arrays.items()}
    expect(spec, drawn)
    compile(spec)(**arrays)
    for key, value in arrays.items():
        require(key, value, _due(kept[key], 0.0))
    assert kept.keys() == arrays.keys()


def test_what_is_not_selected_may_be_infinite() -> None:
    size = total(exp(v) * where(J <= L), L)
    body = where(v > 0, log(larger(v, 0)) * v) + where(v < 0, v * log(smaller(v, 0) ** 2) * size)
    spec = Spec("logs", [v], [let(RESULT[J], body)], [RESULT])
    expect(spec, case(spec, "ties and zeros"))
    expect(gradient(spec), case(gradient(spec), "ties and zeros"))
