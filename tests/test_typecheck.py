"""A spec that is not well formed is told by its name, equation and index, and by what was due."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from attnverify.algebra.predicates import TRUE, Holds
from attnverify.algebra.terms import (
    Apply,
    Axis,
    Entry,
    Expr,
    Index,
    Softmax,
    Tensor,
    Total,
    as_expr,
)
from attnverify.equations import Equation, Recurrence
from attnverify.errors import SpecError, UnknownPrimitiveError
from attnverify.notation import (
    axes,
    booleans,
    exp,
    integers,
    let,
    parameter,
    previous,
    recur,
    softmax,
    tensors,
    total,
    where,
)
from attnverify.spec import Spec

queries, keys, time, group, repeat = axes("queries keys time group repeat")
i, j, l, t, u = queries["i"], keys["j"], keys["l"], time["t"], time["u"]
g, r = group["g"], repeat["r"]
Q, K, X, Y, Z, H, N = tensors("Q K X Y Z H N")
(mask,), (lengths,) = booleans("mask"), integers("lengths")
window = parameter("window", integer=True, ge=1)


class Stranger(Expr):
    """A node of no kind."""


def spec(
    *equations: Any, inputs: Sequence[Any] = (), outputs: Sequence[Any] = (Y,), **more: Any
) -> Spec:
    """A spec named `trial` over Q[i] and K[j]."""
    return Spec("trial", [Q[i], K[j], *inputs], list(equations), outputs, **more)


def recurrence(body: object, initial: object = 0) -> Spec:
    """A spec with one recurrence H along t over X[t]."""
    steps = [let(H[t], body)]
    return spec(recur(along=t, initial={H: initial}, steps=steps), inputs=[X[t]], outputs=[H])


GOOD = let(Y[i], Q[i])

# What was written, and the parts of the error: message, equation, index, found, due.
BAD: dict[str, tuple[Callable[[], object], str, dict[str, str]]] = {
    "an unbound tensor": (
        lambda: spec(let(Y[i], Z[i])),
        "unbound name",
        {"equation": "Y", "found": "Z[i]", "due": "Q, K"},
    ),
    "a name used before it is assigned": (
        lambda: spec(let(Y[i], Z[i]), let(Z[i], Q[i])),
        "unbound name",
        {"equation": "Y", "found": "Z[i]"},
    ),
    "a name that reads itself": (lambda: spec(let(Y[i], Y[i])), "unbound name", {"found": "Y[i]"}),
    "an unbound parameter": (
        lambda: spec(let(Y[i], window * Q[i])),
        "unbound name",
        {"equation": "Y", "found": "window", "hint": "parameters="},
    ),
    "an unbound parameter in a mask": (
        lambda: spec(let(Y[i], total(where(j <= i + window) * K[j], j))),
        "unbound name",
        {"equation": "Y", "found": "window"},
    ),
    "an unbound index": (
        lambda: spec(let(Y[i], Q[i] * K[j])),
        "neither on the left nor summed",
        {"equation": "Y", "index": "j", "due": "i", "hint": "over=j"},
    ),
    "an unbound index in a position": (
        lambda: spec(let(Y[i], j * Q[i])),
        "neither on the left nor summed",
        {"equation": "Y", "index": "j"},
    ),
    "an unbound index in a predicate": (
        lambda: spec(let(Y[i], where(j <= i) * Q[i])),
        "neither on the left nor summed",
        {"equation": "Y", "index": "j"},
    ),
    "an index of the same name on another axis": (
        lambda: spec(let(Y[i], total(Q[i] * K[keys["i"]], keys["j"]))),
        "neither on the left nor summed",
        {"equation": "Y", "index": "i"},
    ),
    "a name assigned twice": (
        lambda: spec(GOOD, let(Y[i], 2 * Q[i])),
        "assigned twice",
        {"equation": "Y"},
    ),
    "an input assigned": (lambda: spec(let(Q[i], 1)), "assigned twice", {"equation": "Q"}),
    "an input declared twice": (
        lambda: spec(GOOD, inputs=[Q[i]]),
        "assigned twice",
        {"equation": "Q"},
    ),
    "a parameter declared twice": (
        lambda: spec(GOOD, parameters=[window, window]),
        "declared twice",
        {"found": "window"},
    ),
    "a parameter with a tensor's name": (
        lambda: spec(GOOD, parameters=[parameter("Q")]),
        "declared twice",
        {"found": "Q"},
    ),
    "an axis mismatch": (
        lambda: spec(let(Y[j], Q[j])),
        "another axis",
        {"equation": "Y", "index": "j", "found": "keys", "due": "queries"},
    ),
    "an axis mismatch in a predicate": (
        lambda: spec(let(Y[i], where(mask[i])), inputs=[mask[j]]),
        "another axis",
        {"equation": "Y", "index": "i", "due": "keys"},
    ),
    "a product axis read by one index": (
        lambda: spec(let(Y[g], X[g]), inputs=[X[(g, r),]]),
        "another axis",
        {"equation": "Y", "index": "g", "due": "group*repeat"},
    ),
    "a product axis in another order": (
        lambda: spec(let(Y[g, r], X[(r, g),]), inputs=[X[(g, r),]]),
        "another axis",
        {"equation": "Y", "index": "r.g", "found": "repeat*group", "due": "group*repeat"},
    ),
    "too few indices": (
        lambda: spec(let(Y[i], X[i]), inputs=[X[i, j]]),
        "wrong number of indices",
        {"equation": "Y", "found": "X[i]", "due": "X[i,j]"},
    ),
    "an index twice on the left": (
        lambda: spec(let(Y[i, i], Q[i])),
        "used twice on the left",
        {"equation": "Y", "index": "i", "hint": "eq(i, j)"},
    ),
    "an index twice in an input": (
        lambda: spec(GOOD, inputs=[X[j, j]]),
        "used twice on the left",
        {"equation": "X", "index": "j"},
    ),
    "an index summed twice at once": (
        lambda: spec(let(Y[i], Total(K[j], (j, j)) * Q[i])),
        "names an index twice",
        {"equation": "Y"},
    ),
    "a softmax read on another axis": (
        lambda: spec(let(Y[i], Softmax(K[j], j, TRUE, i))),
        "read on another axis",
        {"equation": "Y", "index": "i", "found": "queries", "due": "keys"},
    ),
    "an unknown primitive": (
        lambda: spec(let(Y[i], Apply("softplus", (Q[i],)))),
        "not on the list of primitives",
        {"equation": "Y", "found": "softplus", "due": "tanh"},
    ),
    "a primitive that is not listed": (
        lambda: spec(let(Y[i], Apply("running_total", (Q[i],)))),
        "not on the list of primitives",
        {"equation": "Y", "found": "running_total"},
    ),
    "an argument too many": (
        lambda: spec(let(Y[i], Apply("tanh", (Q[i], Q[i])))),
        "'tanh' takes 1 argument",
        {"equation": "Y", "found": "2"},
    ),
    "an unknown node": (
        lambda: spec(let(Y[i], Stranger() + Q[i])),
        "no rule for this node|unknown node",
        {"found": "Stranger"},
    ),
    "a mask used as a number": (
        lambda: spec(let(Y[i], mask[i] * Q[i]), inputs=[mask[i]]),
        "boolean input is used as a number",
        {"equation": "Y", "found": "mask[i]", "hint": "where"},
    ),
    "a mask compared with a number": (
        lambda: spec(let(Y[i], where(mask[i] > 0) * Q[i]), inputs=[mask[i]]),
        "boolean input is used as a number",
        {"equation": "Y", "found": "mask[i]"},
    ),
    "a real input that should hold": (
        lambda: spec(let(Y[i], where(Holds(Q[i])))),
        "only a boolean input",
        {"equation": "Y", "found": "Q[i]"},
    ),
    "a tensor that changes its kind": (
        lambda: spec(let(Y[i], Q[i] * Tensor("lengths")[i]), inputs=[lengths[i]]),
        "changes its kind",
        {"equation": "Y", "found": "real", "due": "int"},
    ),
    "a mask assigned": (
        lambda: spec(Equation(mask[i], as_expr(1)), outputs=["mask"]),
        "assigns real numbers",
        {"equation": "mask", "found": "bool"},
    ),
    "an output that nothing assigns": (
        lambda: spec(GOOD, outputs=[Z]),
        "output is not assigned",
        {"found": "Z", "due": "Q, K, Y"},
    ),
    "an output twice": (lambda: spec(GOOD, outputs=[Y, Y]), "named twice", {"found": "Y, Y"}),
    "no output": (lambda: spec(GOOD, outputs=[]), "needs an output", {}),
    "an input without indices": (
        lambda: spec(GOOD, inputs=[X]),
        "declared as an entry",
        {"due": "Q[b, h, i, k]"},
    ),
    "a comparison in place of an equation": (
        lambda: spec(Y[i] == Q[i]),
        "a spec holds equations",
        {"found": "False", "due": "let("},
    ),
    "a number in place of a parameter": (
        lambda: spec(GOOD, parameters=[3]),
        "a parameter was expected",
        {"found": "3"},
    ),
    "a tensor whose name is no name": (
        lambda: spec(let(Tensor("Y; x")[i], Q[i]), outputs=["Y; x"]),
        "not an identifier",
        {"found": "Y; x"},
    ),
    "an axis whose name is no name": (
        lambda: spec(GOOD, inputs=[X[Axis("a b")["i"]]]),
        "not an identifier",
        {"equation": "X", "found": "a b"},
    ),
    "an index whose name is no name": (
        lambda: spec(GOOD, inputs=[X[Index("", keys)]]),
        "not an identifier",
        {"equation": "X"},
    ),
    # ---- Recurrences
    "a recurrence without its index": (
        lambda: spec(recur(along=t, initial={H: 0}, steps=[let(H[i], Q[i])]), outputs=[H]),
        "lacks the recurrence's index",
        {"equation": "H", "index": "t"},
    ),
    "a state without a step": (
        lambda: spec(recur(along=t, initial={N: 0}, steps=[let(H[t], 1)]), outputs=[H]),
        "a state has no step",
        {"found": "N", "due": "H"},
    ),
    "a recurrence without a state": (
        lambda: spec(Recurrence(t, (let(H[t], 1),), ()), outputs=[H]),
        "needs a step and a state",
        {"found": "H"},
    ),
    "a state read in its own step": (
        lambda: recurrence(H[t] + X[t]),
        "unbound name",
        {"equation": "H", "found": "H[t]", "hint": "previous(H[t])"},
    ),
    "a state read at another step": (
        lambda: recurrence(total(previous(H[u]), u)),
        "a step reads another step",
        {"equation": "H", "index": "u", "due": "t"},
    ),
    "a sum over the recurrence's own index": (
        lambda: recurrence(total(previous(H[t]), t) + X[t]),
        "reads other steps in a sum",
        {"equation": "H", "index": "t", "found": "H[t]"},
    ),
    "a softmax over the recurrence's own index": (
        lambda: recurrence(softmax(previous(H[t]), t)),
        "reads other steps in a sum",
        {"equation": "H", "index": "t"},
    ),
    "previous of an input": (
        lambda: recurrence(previous(X[t])),
        "not a state",
        {"equation": "H", "found": "X[t]", "due": "H"},
    ),
    "previous outside a recurrence": (
        lambda: spec(let(Y[i], previous(Q[i]))),
        "not a state",
        {"equation": "Y", "due": "a recurrence"},
    ),
    "an initial value at a step": (
        lambda: recurrence(previous(H[t]), initial=1 * X[t]),
        "neither on the left nor summed",
        {"equation": "H (initial)", "index": "t"},
    ),
    "an initial value of an unbound name": (
        lambda: recurrence(previous(H[t]), initial=total(Z[j], j)),
        "unbound name",
        {"equation": "H (initial)", "found": "Z[j]"},
    ),
    "a step assigned twice": (
        lambda: spec(
            recur(along=t, initial={H: 0}, steps=[let(H[t], 1), let(H[t], 2)]), outputs=[H]
        ),
        "assigned twice",
        {"equation": "H"},
    ),
    "a step that assigns an input": (
        lambda: spec(
            recur(along=t, initial={X: 0}, steps=[let(X[t], 1)]), inputs=[X[t]], outputs=[X]
        ),
        "assigned twice",
        {"equation": "X"},
    ),
}


@pytest.mark.parametrize(("build", "message", "parts"), BAD.values(), ids=BAD)
def test_a_bad_spec_is_told_in_words(
    build: Callable[[], object], message: str, parts: dict[str, str]
) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        build()
    told = caught.value.parts
    assert told.get("spec") == "trial" or "Stranger" in str(caught.value)
    for part, words in parts.items():
        assert words in told.get(part, ""), f"{part} does not say {words}: {caught.value}"


def test_an_unknown_primitive_is_an_error_of_its_own() -> None:
    with pytest.raises(UnknownPrimitiveError) as caught:
        spec(let(Y[i], Apply("softplus", (Q[i],))))
    assert caught.value.parts["spec"] == "trial"


@pytest.mark.parametrize(
    "build",
    [
        lambda: 0 <= i <= 2,
        lambda: where(i) if (j <= i) else 0,
        lambda: let(Y[i], Q[i] if mask[i] & (i <= 2) else 0),
        lambda: (i <= 2) and (j <= 2),
        lambda: not (i <= 2),
    ],
)
def test_a_predicate_is_never_a_truth_value(build: Callable[[], object]) -> None:
    with pytest.raises(SpecError, match="no truth value"):
        build()


def test_a_good_spec_passes() -> None:
    good = spec(
        let(Z[i, j], softmax(exp(Q[i] * K[j]), j, (j <= i) & mask[j])),
        recur(
            along=t,
            initial={H: 0, N: total(Q[i], i)},
            steps=[
                let(N[t], previous(N[t]) + total(X[u] * where(u <= t), u)),
                let(H[t], previous(H[t]) * N[t] + total(previous(N[t]) * Q[i], i)),
            ],
        ),
        let(Y[i], total(Z[i, j] * K[j], j) + window * total(H[t], t) + total(K[l], l)),
        inputs=[X[t], mask[j]],
        parameters=[window],
    )
    assert set(good.heads) == {"Q", "K", "X", "mask", "Z", "H", "N", "Y"}
    assert good.heads["Y"] == Entry(Y, (i,))
