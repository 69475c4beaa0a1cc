"""The text of each test: one writer for each invariant that a subject can be asked."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from textwrap import fill

from attnverify.equations import place_axis
from attnverify.invariants import Invariant, applicable, roles
from attnverify.invariants.roles import Roles
from attnverify.spec import Spec

WIDTH = 100


def shape(spec: Spec, name: str) -> str:
    """An array with its axes by name.

    >>> from attnverify.library import load
    >>> shape(load("grouped_query"), "Q")
    'Q[batch, group*repeat, queries, key_dim]'
    """
    axes = ", ".join(place_axis(place).name for place in spec.heads[name].places)
    return f"{name}[{axes}]"


def wrapped(text: str, width: int) -> str:
    """The text in lines, none of which ends inside brackets.

    >>> print(wrapped("from Q[batch, keys] to O[batch, keys]", 20))
    from Q[batch, keys]
    to O[batch, keys]
    """
    held = re.sub(r"\[[^]]*\]", lambda found: found[0].replace(" ", "\xa0"), text)
    return fill(held, width).replace("\xa0", " ")


def safe(text: str) -> str:
    """Text that may stand in a docstring: nothing in it ends the string or escapes."""
    return text.replace("\\", "\\\\").replace('"""', "'''")


def written(spec: Spec) -> list[str]:
    """Every test of a spec: what agrees with the oracle, and the invariants that apply."""
    parts = roles(spec)
    rows = [row for row, unmet in applicable(spec) if not unmet and row.name not in spec.announces]
    known = [(WRITERS[row.name], row) for row in rows if row.name in WRITERS]
    return _agreements(spec) + [text for write, row in known for text in write(parts, row)]


def left_out(spec: Spec) -> dict[str, str]:
    """The invariants that a test could be written of and that the spec announces to fail."""
    asked = {row.name for row, unmet in applicable(spec) if not unmet} & set(WRITERS)
    return {name: reason for name, reason in spec.announces.items() if name in asked}


def test(name: str, says: str, *body: str) -> str:
    """The text of one test: its name, what it says, and its lines."""
    told = wrapped(f'"""{safe(says)}"""', WIDTH - 4)
    lines = [*told.splitlines(), *body]
    head = f"@properties\n@given(case=subject.cases())\ndef test_{name}(case):\n"
    return head + "\n".join(f"    {line}" for line in lines)


def _agreements(spec: Spec) -> list[str]:
    """The comparisons with the oracle, which every spec has."""
    real = [entry.tensor.name for entry in spec.inputs if entry.tensor.kind == "real"]
    outputs = ", ".join(spec.outputs)
    found = [
        test(
            "forward_agrees_with_the_oracle",
            f"Shape, type and every entry of {outputs} are the oracle's.",
            "subject.forward_agrees(case)",
        )
    ]
    if real:
        slopes = ", ".join(f"d{name}" for name in real)
        found.append(
            test(
                "backward_agrees_with_the_oracle",
                f"Every entry of {slopes} is the oracle's, for a drawn cotangent.",
                "subject.backward_agrees(case)",
            )
        )
    return found


def _values(parts: Roles) -> str:
    """The values' name; empty where the output is not the sum of weights times one input."""
    return "" if parts.direct_values is None else parts.direct_values.tensor.name


def _row_sums(parts: Roles, invariant: Invariant) -> list[str]:
    V, out = _values(parts), parts.output.tensor.name
    if not V:
        return []
    says = f"{invariant.says}: with ones for {V}, {shape(parts.spec, out)} is one."
    return [
        test(
            "rows_sum_to_one",
            says,
            f'ones = subject.changed(case, {V}=np.ones_like(case.arrays["{V}"]))',
            "subject.output(ones).equals(1)",
        )
    ]


def _zero_blocks(parts: Roles, invariant: Invariant) -> list[str]:
    V, out = _values(parts), parts.output.tensor.name
    along = [place_axis(place).name for place in parts.spec.heads[V].places] if V else []
    if "keys" not in along:
        return []
    says = f"{invariant.says}: with {V} zero but at one key, {out} is zero in rows without it."
    at = along.index("keys")
    return [
        test(
            "masked_weights_are_zero",
            says,
            f'{V} = np.zeros_like(case.arrays["{V}"])',
            f'np.moveaxis({V}, {at}, 0)[case.seed % case.sizes["keys"]] = 1',
            f"one_key = subject.changed(case, {V}={V})",
            "subject.output(one_key).equals(0, where=subject.due(one_key).exact_zeros)",
        )
    ]


def _garbage(parts: Roles, name: str, says: str, places: str) -> list[str]:
    axis = next((a for a in ("time", "keys") if parts.along(a) and parts.movable(a)), "")
    if not axis:
        return []
    moved = ", ".join(e.tensor.name for e in parts.along(axis) if e.tensor.kind == "real")
    out = parts.output.tensor.name
    return [
        test(
            name,
            f"{says}: {out} is as it was where it sees none of the garbage in {moved}.",
            "rng = np.random.default_rng(case.seed)",
            f'garbage = subject.garbage(case, "{axis}", {places.format(axis=axis)})',
            "seen_none = subject.unmoved(case, garbage)",
            "after = subject.output(garbage, bound_of=case)",
            "after.equals(subject.output(case), where=seen_none)",
        )
    ]


def _hidden(parts: Roles, invariant: Invariant) -> list[str]:
    places = '[rng.integers(case.sizes["{axis}"])]'
    return _garbage(parts, "masked_keys_have_no_influence", invariant.says, places)


def _causality(parts: Roles, invariant: Invariant) -> list[str]:
    places = 'slice(rng.integers(case.sizes["{axis}"]), None)'
    return _garbage(parts, "causality", "Causality", places)


def _linearity(parts: Roles, invariant: Invariant) -> list[str]:
    (V,) = {entry.tensor.name for entry in parts.value_inputs}
    return [
        test(
            f"linearity_in_{V}",
            f"{invariant.says}: {V} is -{V} and 2 {V}, whose sum has no rounding.",
            f'{V} = case.arrays["{V}"]',
            f"part = np.random.default_rng(case.seed).random({V}.shape) < 0.5",
            f"one = subject.output(subject.changed(case, {V}=np.where(part, -{V}, 2 * {V})))",
            f"other = subject.output(subject.changed(case, {V}=np.where(part, 2 * {V}, -{V})))",
            "subject.output(case).equals(one + other)",
        )
    ]


def _permutation(parts: Roles, invariant: Invariant) -> list[str]:
    found = []
    for statement in invariant.statements(parts):
        (relabel,) = statement.relabels
        out, axis = parts.output.tensor.name, relabel.axis
        moved = f'.permuted("{axis}", order)' if relabel.indices else ""
        word = "permutes" if relabel.indices else "leaves"
        found.append(
            test(
                f"permutation_of_{axis}_{word}_{out}",
                f"A permutation of the {axis} in {', '.join(relabel.tensors)} {word} {out}.",
                f'order = np.random.default_rng(case.seed).permutation(case.sizes["{axis}"])',
                f'moved = subject.permuted(case, "{axis}", order)',
                f"subject.output(moved).equals(subject.output(case){moved})",
            )
        )
    return found


def _independence(axis: str) -> Callable[[Roles, Invariant], list[str]]:
    def write(_parts: Roles, invariant: Invariant) -> list[str]:
        return [
            test(
                f"{axis}_independence",
                f"{invariant.says[0].upper()}{invariant.says[1:]}.",
                f'one = case.seed % case.sizes["{axis}"]',
                f'alone = subject.only(case, "{axis}", one)',
                f'subject.output(alone).equals(subject.output(case).only("{axis}", one))',
            )
        ]

    return write


WRITERS: Mapping[str, Callable[[Roles, Invariant], list[str]]] = {
    "rows sum to one": _row_sums,
    "masked weights are zero": _zero_blocks,
    "masked keys have no influence": _hidden,
    "causality": _causality,
    "linearity in the values": _linearity,
    "permutation equivariance": _permutation,
    "batch independence": _independence("batch"),
    "head independence": _independence("heads"),
}
