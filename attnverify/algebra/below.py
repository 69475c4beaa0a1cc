"""What stands below a node, and its free indices, which are found once for each node."""

from __future__ import annotations

from attnverify.algebra.predicates import All, AnyOf, Compare, Holds, Not, Predicate
from attnverify.algebra.terms import (
    Add,
    Apply,
    Entry,
    Expr,
    Index,
    Indicator,
    Maximum,
    Mul,
    Power,
    Previous,
    Scalar,
    Softmax,
    Threshold,
    Total,
    symbol_index,
    symbols_of,
)
from attnverify.errors import UnknownPrimitiveError


def unknown(node: object, verb: str) -> UnknownPrimitiveError:
    """The error for a node that a traversal has no rule for."""
    return UnknownPrimitiveError(
        f"{verb} has no rule for this node", found=f"{type(node).__name__}: {node!r}"
    )


def children(node: Expr) -> tuple[Expr, ...]:
    """The expressions directly below a node; predicates are not expressions."""
    match node:
        case Scalar() | Entry() | Indicator():
            return ()
        case Previous(entry):
            return (entry,)
        case Add(parts) | Mul(parts) | Apply(_, parts):
            return parts
        case Power(base, _):
            return (base,)
        case Total(body, _) | Softmax(body, _, _, _):
            return (body,)
        case Maximum(score, _, _) | Threshold(score, _, _, _):
            return (score,)
    raise unknown(node, "traversal")


def free(node: Expr) -> dict[Index, None]:
    """The free indices of an expression, in order of first appearance."""
    return dict(_free(node))


def _free(node: Expr) -> dict[Index, None]:
    """The same, found once for each node and never changed."""
    try:
        return node._free  # noqa: SLF001  kept with the node for this function
    except AttributeError:
        found = _found_free(node)
        object.__setattr__(node, "_free", found)
        return found


def _found_free(node: Expr) -> dict[Index, None]:
    match node:
        case Scalar(value):
            found = [symbol_index(s) for s in symbols_of(value)]
            return {index: None for index in found if index is not None}
        case Entry():
            return dict.fromkeys(node.indices)
        case Total(body, over):
            return {index: None for index in _free(body) if index not in over}
        case Softmax(score, over, where, at):
            inner = {index: None for index in {**_free(score), **free_in(where)} if index != over}
            return {**inner, at: None}
        case Maximum(score, over, where) | Threshold(score, over, where, _):
            return {index: None for index in {**_free(score), **free_in(where)} if index != over}
        case Indicator(where):
            return free_in(where)
        case _:
            return {index: None for child in children(node) for index in _free(child)}


def free_in(predicate: Predicate) -> dict[Index, None]:
    """The free indices of a predicate, in order of first appearance."""
    match predicate:
        case Compare(_, left, right):
            return {**_free(left), **_free(right)}
        case Holds(entry):
            return dict.fromkeys(entry.indices)
        case All(parts) | AnyOf(parts):
            return {index: None for part in parts for index in free_in(part)}
        case Not(part):
            return free_in(part)
        case _:
            return {}
