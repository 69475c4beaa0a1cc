"""Specs travel as JSON and come back equal; nothing in the text is evaluated."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnverify.algebra.predicates import Predicate
from attnverify.algebra.terms import Expr, Scalar
from attnverify.errors import SpecError
from attnverify.library import load
from attnverify.notation import booleans, let, ne, tensors, where
from attnverify.serial import from_json, to_json
from attnverify.serial.read import Reader
from attnverify.serial.write import expression_tree, predicate_tree, spec_tree
from attnverify.spec import Spec
from attnverify.transforms.gradient import gradient
from attnverify.transforms.tangent import tangent
from tests.expressions import I, J, M, P, Q, S, X, Y, expressions, predicates
from tests.house import ROOT
from tests.members import MEMBERS
from tests.trials import TRIALS

SPECS: dict[str, Spec] = {**MEMBERS, **TRIALS}


@pytest.mark.parametrize("title", SPECS)
def test_specs_and_their_derivatives_come_back_equal(title: str) -> None:
    spec = SPECS[title]
    for one in (spec, gradient(spec), tangent(spec), gradient(gradient(spec))):
        text = to_json(one)
        again = from_json(text)
        assert again == one
        assert to_json(again) == text
        assert str(again) == str(one)


@pytest.mark.parametrize("title", ["sliding_window (align=top_left, counts=keys)", "downwards"])
def test_specialised_specs_come_back_equal(title: str) -> None:
    values = {"window": 3} if "window" in title else {"decay": Fraction(1, 3)}
    closed = load(SPECS[title], **values)
    assert from_json(to_json(closed)) == closed
    assert dict(from_json(to_json(closed)).choices) == {**SPECS[title].choices, **values}


(OUT,) = tensors("out")


@given(expressions((I, J, P, Q), depth=3))
def test_any_expression_comes_back_equal(body: Expr) -> None:
    spec = Spec("drawn", [X[I], Y[I, P], M[I, J], S[()]], [let(OUT[I, J, P, Q], body)], [OUT])
    assert from_json(to_json(spec)) == spec


@given(predicates((I, J, P)))
def test_any_predicate_comes_back_equal(seen: Predicate) -> None:
    assert Reader("drawn").predicate(json.loads(json.dumps(predicate_tree(seen)))) == seen


def test_masks_come_back_equal() -> None:
    (mask,) = booleans("mask")
    seen = (~mask[I] & (I <= J)) | ne(I, P)
    spec = Spec("masks", [mask[I], Y[J, P]], [let(OUT[I, J, P], where(seen) * Y[J, P])], [OUT])
    assert from_json(to_json(spec)) == spec


def test_the_tree_is_plain_and_says_its_schema() -> None:
    tree = spec_tree(load("grouped_query"))
    assert tree["schema"] == 1
    assert tree["inputs"][0] == [
        "Q",
        "real",
        [["b", "batch"], [["g", "group"], ["r", "repeat"]], ["i", "queries"], ["k", "key_dim"]],
    ]
    assert tree["outputs"] == ["O"]
    assert json.loads(to_json(load("grouped_query"))) == tree


# ---- What is no spec

GOOD: dict[str, Any] = json.loads(to_json(load("causal")))
RNN: dict[str, Any] = json.loads(to_json(load("linear_rnn")))
WINDOW: dict[str, Any] = json.loads(to_json(load("sliding_window")))


def changed(tree: dict[str, Any], *path: str | int, to: object) -> str:
    """The JSON text with one part replaced."""
    copy = json.loads(json.dumps(tree))
    spot = copy
    for step in path[:-1]:
        spot = spot[step]
    spot[path[-1]] = to
    return json.dumps(copy)


def body(tree: object) -> str:
    """The causal spec with another first equation's right side."""
    return changed(GOOD, "equations", 0, 2, to=tree)


def scalar(tree: object) -> str:
    """The causal spec with a scalar as first equation's right side."""
    return body(["scalar", tree])


ONE = ["number", 1, 1]
DEEP = "[" * 5000 + "]" * 5000
BAD: dict[str, tuple[str, str]] = {
    "no JSON": ("{", "not written as JSON"),
    "nothing": ("", "not written as JSON"),
    "a list": ("[]", "not a spec of this schema"),
    "another schema": (changed(GOOD, "schema", to=2), "schema 1"),
    "no schema": ("{}", "not a spec of this schema"),
    "nested without end": (DEEP, "JSON|schema|nested"),
    "nested terms": (
        body("@").replace('"@"', '["add",' * 1500 + "1" + "]" * 1500),
        "nested too deeply|not written as JSON",
    ),
    "no name": (changed(GOOD, "name", to=None), "a name is text"),
    "no inputs": (changed(GOOD, "inputs", to=None), "'inputs' is a list"),
    "equations as text": (changed(GOOD, "equations", to="S = 1"), "'equations' is a list"),
    "an input of no kind": (changed(GOOD, "inputs", 0, 1, to="complex"), "not an input"),
    "an input as text": (changed(GOOD, "inputs", 0, to="Q"), "not an input"),
    "an output as number": (changed(GOOD, "outputs", 0, to=3), "a name is text"),
    "an unassigned output": (changed(GOOD, "outputs", 0, to="P"), "output is not assigned"),
    "an unknown statement": (changed(GOOD, "equations", 0, 0, to="assign"), "not a statement"),
    "an equation as text": (changed(GOOD, "equations", 0, to="S = Q"), "not a statement"),
    "an equation of two": (changed(GOOD, "equations", 0, to=["equation", 1]), "not a statement"),
    "a head that is no entry": (
        changed(GOOD, "equations", 0, 1, to=["scalar", ONE]),
        "not an entry",
    ),
    "code as expression": (body("__import__('os').getcwd()"), "not an expression"),
    "an unknown node": (body(["lambda", "x"]), "not an expression"),
    "a node of too few": (body(["power", ["scalar", ONE]]), "not an expression"),
    "an unknown primitive": (body(["apply", "eval", ["scalar", ONE]]), "not on the list"),
    "a primitive as number": (body(["apply", 3]), "not an expression"),
    "an index as text": (body(["entry", "Q", ["i"]]), "not an index"),
    "an index of three": (body(["entry", "Q", [["i", "queries", "x"]]]), "not an index"),
    "a name that is code": (body(["entry", "Q; import os", []]), "unbound name"),
    "an unbound name": (body(["entry", "Z", []]), "unbound name"),
    "an index summed twice": (
        body(["total", ["scalar", ONE], [["k", "key_dim"], ["k", "key_dim"]]]),
        "names an index twice",
    ),
    "an exponent as text": (body(["power", ["scalar", ONE], "2"]), "a fraction is two integers"),
    "an exponent by zero": (body(["power", ["scalar", ONE], [1, 0]]), "a fraction is two integers"),
    "an exponent of truth": (body(["power", ["scalar", ONE], [True, 1]]), "a fraction is two"),
    "a huge exponent": (body(["power", ["scalar", ["size", "keys"]], [10**9, 1]]), "too large"),
    "a float": (scalar(["number", 0.5, 1]), "a fraction is two integers"),
    "an unknown scalar": (scalar(["sympify", "x"]), "not a scalar"),
    "a scalar as text": (scalar("n_keys"), "not a scalar"),
    "a tower of powers": (scalar(["power", ["number", 10, 1], ["number", 60, 1]]), "written as"),
    "a huge power of a size": (
        scalar(["power", ["size", "keys"], ["number", 10**9, 1]]),
        "too large",
    ),
    "a power of zero": (scalar(["power", ["number", 0, 1], ["number", -1, 1]]), "written as"),
    "an undeclared parameter": (scalar(["parameter", "window"]), "unbound name"),
    "an unknown predicate": (body(["indicator", ["maybe"]]), "not a predicate"),
    "an unknown comparison": (body(["indicator", ["compare", "=<", 1, 1]]), "not a predicate"),
    "a truth that is none": (body(["indicator", ["truth", 1]]), "not a predicate"),
    "a real entry that holds": (
        body(
            [
                "indicator",
                [
                    "holds",
                    [
                        "entry",
                        "Q",
                        [["b", "batch"], ["h", "heads"], ["i", "queries"], ["i", "key_dim"]],
                    ],
                ],
            ]
        ),
        "boolean|neither",
    ),
    "a recurrence of four": (
        changed(RNN, "equations", 0, to=["recurrence", 1, True]),
        "not a statement",
    ),
    "a direction as text": (changed(RNN, "equations", 0, 2, to="down"), "not a statement"),
    "an initial value of one": (
        changed(RNN, "equations", 0, 3, to=[["H"]]),
        "not an initial value",
    ),
    "a step that is none": (changed(RNN, "equations", 0, 4, to=[["let"]]), "not an equation"),
    "a parameter of two": (
        changed(WINDOW, "parameters", 0, to=["window", True]),
        "not a parameter",
    ),
    "a bound as text": (changed(WINDOW, "parameters", 0, 2, to="1"), "a fraction is two integers"),
    "choices as list": (changed(GOOD, "choices", to=[]), "'choices' is a table"),
    "a choice as list": (changed(GOOD, "choices", "align", to=[1]), "a choice has a plain value"),
    "a choice of no fraction": (changed(GOOD, "choices", "align", to={"x": 1}), "two integers"),
    "a reason as number": (changed(GOOD, "announces", to={"x": 1}), "a name is text"),
}


@pytest.mark.parametrize(("text", "words"), BAD.values(), ids=BAD)
def test_what_is_no_spec_is_told_in_words(text: str, words: str) -> None:
    with pytest.raises(SpecError) as caught:
        from_json(text)
    assert any(word in str(caught.value) for word in words.split("|")), str(caught.value)


def test_an_error_says_where() -> None:
    with pytest.raises(SpecError) as caught:
        from_json(changed(GOOD, "equations", 1, 2, to=["lambda"]))
    assert caught.value.parts["spec"] == "causal"
    assert caught.value.parts["where"] == "equations[1]"
    assert caught.value.parts["found"] == "['lambda']"
    with pytest.raises(SpecError) as long:
        from_json(changed(GOOD, "inputs", 2, to=["Q"] * 99))
    assert long.value.parts["where"] == "inputs[2]"
    assert len(long.value.parts["found"]) <= 80


class Stranger(Expr):
    """A node of no kind."""


class StrangePredicate(Predicate):
    """A predicate of no kind."""


def test_what_has_no_json_form_is_told_in_words() -> None:
    import sympy

    writes: list[tuple[Callable[[], object], str]] = [
        (lambda: expression_tree(Stranger()), "Stranger"),
        (lambda: predicate_tree(StrangePredicate()), "StrangePredicate"),
        (lambda: expression_tree(Scalar(sympy.gamma(sympy.Symbol("x")))), "gamma"),
        (lambda: to_json(load("causal").replace(choices={"align": object()})), "choice"),
    ]
    for write, words in writes:
        with pytest.raises(SpecError, match="no JSON form") as caught:
            write()
        assert words in str(caught.value)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=4),
        max_leaves=12,
    )
)
def test_no_tree_gets_past_the_reader_untold(tree: object) -> None:
    """Whatever stands on the right of an equation, the answer is a spec or words."""
    assert "causal" in answer(body(tree))


def answer(text: str) -> str:
    """The name of the spec that a text holds, or the words in which it is refused."""
    try:
        return from_json(text).name
    except SpecError as error:
        return str(error)


def test_nothing_is_evaluated_on_load() -> None:
    """The reader calls neither eval nor exec nor SymPy's parser."""
    banned = {"eval", "exec", "sympify", "parse_expr", "compile", "S"}
    for path in (ROOT / "attnverify" / "serial").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                function = node.func
                name = (
                    function.attr
                    if isinstance(function, ast.Attribute)
                    else getattr(function, "id", "")
                )
                assert name not in banned, path


def test_canonical_forms_are_restored() -> None:
    """A tree that the algebra would not build is read as what it means."""
    tree = [
        "mul",
        ["scalar", ["number", 2, 1]],
        ["mul", ["scalar", ["number", 3, 1]], ["entry", "s", []]],
    ]
    assert Reader("x").expression(tree) == 6 * S[()]
    assert Reader("x").expression(["indicator", ["all"]]) == where(I <= J) ** 0
    pi = ["scalar", ["mul", ["number", 2, 1], ["power", ["pi"], ["number", -1, 2]]]]
    assert expression_tree(Reader("x").expression(pi)) == pi
    root = ["power", ["scalar", ["number", -2, 1]], [1, 2]]
    assert expression_tree(Reader("x").expression(root)) == root
