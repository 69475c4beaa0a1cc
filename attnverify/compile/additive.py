"""Which values of a recipe are rows, and which are sums over rows that blocks add up to."""

from __future__ import annotations

from attnverify.compile.recipe import Op, Recipe, label_axis
from attnverify.errors import SpecError

FREE, ROW, SUM = "free", "row", "sum"
# Functions of one array that a sum of parts passes through.
LINEAR = {"negative", "as_real", "broadcast"}


def only_label(recipe: Recipe, axis: str) -> str:
    """The one label by which arrays are read along an axis; empty where there is none or several.

    Also where the axis is a part of a product, or stands twice in one array: it is cut nowhere.
    """
    operands = [o for op in recipe.ops for o in op.operands] + [o for _, o, _ in recipe.outputs]
    made = [op.labels for op in recipe.ops if op.kind != "input"]
    read = {x for labels in (*made, *(o.labels for o in operands)) for x in labels}
    found = {x for x in read if label_axis(x) == axis}
    named = [p for _, p in recipe.inputs] + [p for _, _, p in recipe.outputs]
    for places in named:
        there = [place for place in places if axis in map(label_axis, place)]
        if len(there) > 1 or any(len(place) > 1 for place in there):
            return ""
    for _, operand, places in recipe.outputs:
        along = {x for place in places for x in place if label_axis(x) == axis}
        # An output that is alike along the axis has no entry of its own for each block.
        if not along <= set(operand.labels):
            return ""
    return next(iter(found)) if len(found) == 1 else ""


def classes(recipe: Recipe, label: str) -> dict[str, str]:
    """For each array whether it is free of rows, has them, or is a sum over them.

    Raises SpecError, which says why, where blocks of rows cannot be computed one by one.
    """
    found: dict[str, str] = {}
    for op in recipe.ops:
        if op.kind == "loop":
            raise refused(recipe, "a recurrence goes through all positions")
        if op.kind == "input":
            axes = {label_axis(x) for x in op.labels}
            found[op.out] = ROW if label_axis(label) in axes else FREE
            continue
        found[op.out] = _class(recipe, op, label, found)
    return found


def _class(recipe: Recipe, op: Op, label: str, found: dict[str, str]) -> str:
    kinds = [found[o.name] for o in op.operands]
    rows = [ROW for o in op.operands if label in o.labels]
    sums = kinds.count(SUM)
    if op.value is not None and f"n:{label_axis(label)}" in map(str, op.value.free_symbols):
        raise refused(recipe, f"{op.out} counts the rows")
    if sums and (rows or label in op.labels):
        raise refused(recipe, f"{op.out} needs a sum over all rows for each of them")
    if label in op.labels:
        return ROW
    if rows:
        if op.kind == "contract" or (op.kind == "reduce" and op.detail == "sum"):
            return SUM
        raise refused(recipe, f"{op.out} is not a sum over rows")
    if sums:
        return _of_sums(recipe, op, sums)
    return FREE


def _of_sums(recipe: Recipe, op: Op, sums: int) -> str:
    """What is linear in sums of parts is the sum of what it is for each part."""
    one = sums == 1 and (op.kind == "contract" or op.detail == "multiply")
    alone = op.detail in LINEAR or (op.kind == "reduce" and op.detail == "sum")
    every = op.detail in ("add", "subtract") and sums == len(op.operands)
    if one or alone or every:
        return SUM
    raise refused(recipe, f"{op.out} is not linear in a sum over rows")


def refused(recipe: Recipe, why: str) -> SpecError:
    """The error that says why a spec is not computed in blocks."""
    return SpecError("the spec cannot be computed in blocks of rows", spec=recipe.name, found=why)
