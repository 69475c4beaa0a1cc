"""Statements about outputs: what reaches them, and how they follow the values."""

from __future__ import annotations

from attnverify.algebra.derivative import derivative
from attnverify.algebra.masks import implies
from attnverify.algebra.predicates import Compare, Predicate, negation
from attnverify.algebra.rewrite import rename_in
from attnverify.algebra.terms import (
    Apply,
    Entry,
    Index,
    Parameter,
    Place,
    Tensor,
    add,
    as_expr,
    indicator,
    mul,
    total,
)
from attnverify.invariants.changes import at_output, changed, constant, filled, sees
from attnverify.invariants.reach import in_time
from attnverify.invariants.roles import Roles, unlike
from attnverify.invariants.sites import SHARED
from attnverify.invariants.symmetry import later_changes
from attnverify.statement import Statement, beside, inline, with_input


def hidden_influence(roles: Roles) -> list[Statement]:
    """dO_i / d(k_j, v_j) is 0 where query i does not see key j."""
    return [_zero_block(roles, entry, "masked keys have no influence") for entry in key_side(roles)]


def causality(roles: Roles) -> list[Statement]:
    """Nothing after a query's position reaches its output."""
    if looks_back(roles):
        return [_zero_block(roles, entry, "causality", "<") for entry in key_side(roles)]
    return [later_changes(roles, entry) for entry in _timed(roles)]


def key_side(roles: Roles) -> tuple[Entry, ...]:
    """The inputs that the main attention reads at a key's place: keys, then values."""
    return (*roles.key_inputs, *roles.value_inputs)


def hides(roles: Roles) -> bool:
    """Whether keys and values reach the output under the mask alone."""
    return masks_a_side(roles) and all(
        roles.hidden_rows(entry) is not None for entry in key_side(roles)
    )


def masks_a_side(roles: Roles) -> bool:
    """Whether there are keys or values that a mask can hide from the output."""
    return (
        roles.masked
        and not roles.recurrent
        and bool(key_side(roles))
        and all(roles.mask_rows(entry) is not None for entry in key_side(roles))
    )


def looks_back(roles: Roles) -> bool:
    """Whether the mask lets no query see a key after its own number."""
    if not hides(roles) or len(roles.keys) != 1 or len(roles.main.rows) != 1:
        return False
    ordered = Compare("<=", as_expr(roles.keys[0]), as_expr(roles.main.rows[0]))
    return implies(roles.where, ordered, roles.spec.parameters).holds is True


def ordered(roles: Roles) -> bool:
    """Whether no position sees a later one: by the mask, or as every sum over time says."""
    return looks_back(roles) or (positioned(roles) and in_time(roles.spec))


def positioned(roles: Roles) -> bool:
    """Whether inputs and output have positions that can be compared."""
    return looks_back(roles) or bool(_timed(roles))


def _timed(roles: Roles) -> tuple[Entry, ...]:
    """Real inputs along time, where the output runs along it too."""
    if not any(index.axis.name == "time" for index in roles.output.indices):
        return ()
    return tuple(entry for entry in roles.along("time") if entry.tensor.kind == "real")


def _zero_block(roles: Roles, entry: Entry, name: str, order: str = "") -> Statement:
    """A derivative times the indicator of the places where it must vanish."""
    out, keys = roles.output, roles.key_places(entry)
    places = _apart(roles, entry)
    columns = dict(zip(entry.indices, (i for p in places for i in _parts(p)), strict=True))
    to = dict(roles.mask_rows(entry) or {})
    to.update({key: columns[own] for key, own in zip(roles.keys, keys, strict=True)})
    hidden: Predicate = negation(rename_in(roles.where, to))
    if order:
        hidden = Compare(order, as_expr(to[roles.main.rows[0]]), as_expr(to[roles.keys[0]]))
    slope = derivative(inline(roles.spec, out), Entry(entry.tensor, places))
    words = f"d{out.tensor.name} / d{entry.tensor.name} is zero where {hidden}"
    return Statement(name, "zero", roles.spec, mul(indicator(hidden), slope), words=words)


def _apart(roles: Roles, entry: Entry) -> tuple[Place, ...]:
    """An input's places at the output's shared indices, and at new names elsewhere."""
    shared = {i.axis.name: i for i in roles.output.indices if i.axis.name in SHARED}
    taken = {i.name for i in (*roles.output.indices, *entry.indices)}
    places: list[Place] = []
    for place in entry.places:
        moved = []
        for index in _parts(place):
            kept = index.axis.name in shared
            moved.append(shared[index.axis.name] if kept else unlike(index, taken))
            taken.add(moved[-1].name)
        places.append(tuple(moved) if isinstance(place, tuple) else moved[0])
    return tuple(places)


def _parts(place: Place) -> tuple[Index, ...]:
    return place if isinstance(place, tuple) else (place,)


def value_shift(roles: Roles) -> list[Statement]:
    """V + 1c^T adds c to O where the row sees a key."""
    entry = _values(roles)
    shift = constant(roles.spec, entry, roles.key_places(entry))
    other, joint = changed(roles.spec, entry, add(entry, shift), roles.output)
    due = add(roles.output, mul(at_output(roles, shift), filled(roles)))
    return [Statement("value shift", "equal", joint, other, due)]


def linearity(roles: Roles) -> list[Statement]:
    """O is linear in the values."""
    entry = roles.value_inputs[0]
    other = Entry(Tensor("W_other" if "W" in roles.spec.heads else "W"), entry.places)
    factor = Parameter("a")
    spec = roles.spec.replace(
        inputs=(*roles.spec.inputs, other), parameters=(*roles.spec.parameters, factor)
    )
    mixed = with_input(spec, entry.tensor.name, add(entry, mul(as_expr(factor), other)))
    alone = with_input(spec, entry.tensor.name, other)
    joint, first = beside(spec, mixed, "_mixed")
    joint, second = beside(joint, alone, "_other")
    out = roles.output
    left = Entry(Tensor(first[out.tensor.name]), out.places)
    right = add(out, mul(as_expr(factor), Entry(Tensor(second[out.tensor.name]), out.places)))
    return [Statement("linearity in the values", "equal", joint, left, right)]


def hull(roles: Roles) -> list[Statement]:
    """Each output coordinate lies between the least and the largest visible value.

    Values at most u give outputs at most u: u [row sees a key] - O = sum_j A_j (u - V_j), so it is
    enough that values which are not negative give outputs which are not, and that the weights of
    a row that sees a key sum to one.
    """
    entry = _values(roles)
    other, joint = changed(roles.spec, entry, Apply("relu", (entry,)), roles.output)
    words = "values that are not negative give outputs that are not"
    summed = total(roles.weights_head, roles.keys)
    return [
        Statement("convex hull", "sign", joint, other, words=words),
        Statement("convex hull", "equal", roles.spec, summed, sees(roles.main)),
    ]


def _values(roles: Roles) -> Entry:
    if roles.direct_values is None:
        raise LookupError("the output is not the sum of weights times an input")
    return roles.direct_values
