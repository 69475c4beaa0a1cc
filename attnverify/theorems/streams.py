"""Streams and partial states: attention over parts of the keys, merged or carried along."""

from __future__ import annotations

from typing import Any

from attnverify.algebra.predicates import All, Compare, as_predicate
from attnverify.algebra.terms import (
    ONE,
    ZERO,
    Axis,
    Entry,
    Expr,
    Tensor,
    add,
    apply,
    as_expr,
    indicator,
    inverse,
    mul,
    negative,
    total,
)
from attnverify.library import load
from attnverify.notation import larger, let, maximum, previous, recur, softmax, where
from attnverify.spec import Spec
from attnverify.statement import Statement, beside
from attnverify.theorems.theorem import Theorem

KEYS, TILE, DIM = Axis("keys"), Axis("tile"), Axis("value_dim")
J, T, C = KEYS["j"], TILE["t"], DIM["c"]
S, V, O = Tensor("S"), Tensor("V"), Tensor("O")

State = tuple[Expr, Expr]  # an output and the logarithm of its mass, or the mass itself


def _states(letter: str) -> State:
    return Tensor(f"O_{letter}")[C], Tensor(f"L_{letter}")[()]


def _merged(one: State, other: State) -> State:
    """L = log(e^L1 + e^L2), O = e^(L1 - L) O1 + e^(L2 - L) O2."""
    level = apply("log", add(apply("exp", one[1]), apply("exp", other[1])))
    first = mul(apply("exp", add(one[1], negative(level))), one[0])
    second = mul(apply("exp", add(other[1], negative(level))), other[0])
    return add(first, second), level


def _joined(one: State, other: State) -> State:
    """The same by masses: m = m1 + m2, O = (m1 O1 + m2 O2) / m, 0 where there is none."""
    mass = add(one[1], other[1])
    return mul(add(mul(one[1], one[0]), mul(other[1], other[0])), inverse(mass)), mass


def _over(*letters: str) -> Spec:
    entries = [e for letter in letters for e in _states(letter) if isinstance(e, Entry)]
    return Spec("states", entries, [let(Tensor("unit")[()], 1)], ["unit"])


def _pairs(name: str, spec: Spec, left: State, right: State) -> tuple[Statement, ...]:
    return tuple(
        Statement(f"{name}: {part}", "equal", spec, one, two)
        for part, one, two in zip(("output", "log-sum-exp"), left, right, strict=True)
    )


def merging() -> tuple[Statement, ...]:
    """Merging partial states is commutative and associative."""
    a, b, c = map(_states, "abc")
    return (
        *_pairs("commutative", _over("a", "b"), _merged(a, b), _merged(b, a)),
        *_pairs("associative", _over("a", "b", "c"), _merged(_merged(a, b), c),
                _merged(a, _merged(b, c))),
    )  # fmt: skip


def identity() -> tuple[Statement, ...]:
    """The state of no keys, mass 0, changes nothing, and merged with itself is itself."""
    mass = apply("exp", _states("a")[1])
    empty = (ZERO, add(mass, negative(mass)))  # a division by a plain 0 is refused when written
    state = (_states("a")[0], mass)
    spec = _over("a")
    return (
        *_pairs("nothing after", spec, _joined(state, empty), state),
        *_pairs("nothing before", spec, _joined(empty, state), state),
        *_pairs("nothing and nothing", spec, _joined(empty, empty), empty),
    )


def parts() -> tuple[Statement, ...]:
    """The states of any two parts of the keys merge to that of both."""
    first = Tensor("first", "bool")[J]
    mine = indicator(as_predicate(first))
    sums = [mul(w, apply("exp", S[J])) for w in (mine, add(ONE, negative(mine)))]
    states = [
        (mul(total(mul(part, V[J, C]), J), inverse(total(part, J))), total(part, J))
        for part in sums
    ]
    spec = Spec("parts", [S[J], V[J, C], first], [let(Tensor("unit")[()], 1)], ["unit"])
    whole = total(mul(softmax(S[J], over=J), V[J, C]), J)
    out, _ = _joined(states[0], states[1])
    return (Statement("parts of the keys", "equal", spec, out, whole),)


def tiles() -> tuple[Statement, ...]:
    """Online softmax over tiles of any keys: tile t has those whose integer input says t."""
    part = Tensor("part", "int")[J]
    here = Compare("==", part, as_expr(T))
    top, running, kept = Tensor("M")[T], Tensor("N")[T], Tensor("R")[T]
    summed, out = Tensor("Z")[T], Tensor("U")[T, C]
    weight = mul(indicator(here), apply("exp", add(S[J], negative(running))))
    first, last = Compare("==", as_expr(T), ZERO), Compare("==", as_expr(T), TILE.size - 1)
    before = where(T > 0)
    steps = [
        let(running, where(first) * top + before * larger(previous(running), top)),
        let(kept, before * apply("exp", previous(running) - running)),
        let(summed, kept * previous(summed) + total(weight, J)),
        let(out, kept * previous(out) + total(mul(weight, V[J, C]), J)),
    ]
    names = {running.tensor: 0, summed.tensor: 0, out.tensor: 0}
    end = where(last)
    spec = Spec(
        "tiles",
        [S[J], V[J, C], part],
        [
            let(top, maximum(S[J], over=J, where=here)),
            recur(T, steps, names),
            let(O[C], total(end * out, T) / total(end * summed, T)),
        ],
        ["O"],
    )
    inside = All((Compare(">=", part, ZERO), Compare("<", part, TILE.size)))
    due = total(mul(softmax(S[J], over=J, where=inside), V[J, C]), J)
    return (Statement("tiles of any keys", "equal", spec, O[C], due),)


def forms(name: str, **choices: Any) -> tuple[Statement, ...]:
    """The parallel and the recurrent form of a spec are equal."""
    one = load(name, form="parallel", **choices)
    joint, names = beside(one, load(name, form="recurrent", **choices))
    out = joint.heads[one.outputs[0]]
    other = Entry(Tensor(names[one.outputs[0]]), out.places)
    return (Statement(f"{name}: parallel = recurrent", "equal", joint, out, other),)


def _form(name: str, source: str, **choices: Any) -> Theorem:
    told = ", ".join(f"{key}={value}" for key, value in choices.items() if key == "decay")
    title = f"{name} {told}".strip()
    return Theorem(
        f"forms of {title}", "parallel = recurrent", source, lambda: forms(name, **choices)
    )


STREAMS = (
    Theorem("merging partial states", "commutative and associative", "Dao et al. 2023", merging),
    Theorem("merging with nothing", "the empty state is the identity", "Dao et al. 2023", identity),
    Theorem(
        "states of two parts of the keys",
        "they merge to that of all keys",
        "Dao et al. 2023",
        parts,
    ),
    Theorem(
        "online softmax over any tiles",
        "running maximum, sum and output give softmax attention",
        "Milakov and Gimelshein 2018, theorem 1",
        tiles,
    ),
    _form("linear", "Katharopoulos et al. 2020, eqs. 16 to 20", causal=True),
    _form("retention", "Sun et al. 2023, eqs. 5 and 6", decay="given"),
    _form("retention", "Sun et al. 2023, eqs. 5, 6 and 8", decay="multi_scale"),
    _form("gated_linear", "Yang et al. 2024, section 4"),
    _form("state_space_dual", "Dao and Gu 2024, eqs. 2 and 3"),
    _form("rwkv4", "Peng et al. 2023, eq. 16"),
)
