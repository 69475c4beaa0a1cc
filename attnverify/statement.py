"""What a claim is: two expressions that are equal, a zero block, a sign or a bound.

Claims about a changed input or about two specs are claims about one joint spec: `with_input`
replaces an input by an expression, `beside` puts two specs that share inputs into one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from attnverify.algebra.predicates import (
    Holds,
    Predicate,
    as_predicate,
)
from attnverify.algebra.rewrite import (
    entries,
    free,
    free_in,
    predicate_entries,
    rebuild,
    rebuild_in,
    substitute,
)
from attnverify.algebra.terms import (
    ZERO,
    Entry,
    Expr,
    Index,
    Tensor,
    indicator,
    inverse,
    mul,
    total,
)
from attnverify.equations import Equation, Recurrence, equations_of, place_axis
from attnverify.equations import Statement as Row
from attnverify.errors import ParameterError, SpecError
from attnverify.spec import Spec

KINDS = ("equal", "zero", "sign", "bound")


@dataclass(frozen=True)
class Sees:
    """The hypothesis that some place of `over` satisfies `where`: the row sees a key."""

    where: Predicate
    over: Index

    def __post_init__(self) -> None:
        object.__setattr__(self, "where", as_predicate(self.where))

    def __str__(self) -> str:
        return f"some {self.over} has {self.where}"


@dataclass(frozen=True)
class Relabel:
    """A map `name` of an axis, opaque: the positions relabelled.

    On the right side of a statement the `tensors` are read at `name` of their index on `axis`; on
    the left side the free `indices` are read at `name` of themselves. So `O[pi(i)] = O'[i]`, where
    O' is computed from Q[pi(i)], has tensors ("Q",) and indices ("i",). With `bijection` false the
    map is any map.
    """

    axis: str
    tensors: tuple[str, ...]
    indices: tuple[str, ...] = ()
    name: str = "pi"
    bijection: bool = True

    def __str__(self) -> str:
        kind = "bijection" if self.bijection else "map"
        moved = ", ".join([*self.tensors, *self.indices])
        return f"{self.name} any {kind} of {self.axis}, applied to {moved}"


Hypothesis = Predicate | Sees


@dataclass(frozen=True)
class Statement:
    """A claim about a spec, for all sizes, inputs, parameters and positions of the free indices.

    `kind` is "equal" (left = right), "zero" (left = 0), "sign" (left >= 0) or "bound" (left <=
    right). Both sides are expressions over names of `spec`. Hypotheses are about the free indices,
    sizes and parameters. Raises SpecError for a kind that is not one of these or a name that the
    spec lacks.
    """

    name: str
    kind: str
    spec: Spec
    left: Expr
    right: Expr = ZERO
    hypotheses: tuple[Hypothesis, ...] = ()
    relabels: tuple[Relabel, ...] = ()
    words: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise SpecError(
                "a statement has no such kind",
                spec=self.spec.name,
                found=repr(self.kind),
                due=", ".join(KINDS),
            )
        if self.kind in ("zero", "sign") and self.right != ZERO:
            raise SpecError(
                f"a {self.kind} statement has no right side",
                spec=self.spec.name,
                found=str(self.right),
            )
        for side in (self.left, self.right):
            for entry in entries(side):
                self._check_entry(entry)
        for hypothesis in self.hypotheses:
            where = hypothesis.where if isinstance(hypothesis, Sees) else hypothesis
            for entry in predicate_entries(where):
                self._check_entry(entry)
        self._check_relabels()

    def _check_entry(self, entry: Entry) -> None:
        """A side reads names that the spec has, along the axes that they have."""
        due = self.spec.heads.get(entry.tensor.name)
        if due is None:
            raise SpecError(
                "a statement reads a name that its spec lacks",
                spec=self.spec.name,
                found=str(entry),
                due=", ".join(self.spec.heads),
            )
        found_axes = [place_axis(place) for place in entry.places]
        due_axes = [place_axis(place) for place in due.places]
        if found_axes != due_axes or entry.tensor.kind != due.tensor.kind:
            raise SpecError(
                "a statement reads a tensor along other axes than it has",
                spec=self.spec.name,
                found=f"{entry} over {', '.join(axis.name for axis in found_axes)}",
                due=f"{due} over {', '.join(axis.name for axis in due_axes)}",
            )

    def _check_relabels(self) -> None:
        inputs = {entry.tensor.name for entry in self.spec.inputs}
        found = [(index.name, index.axis.name) for index in self.indices]
        for relabel in self.relabels:
            for name in relabel.tensors:
                if name not in inputs:
                    raise SpecError(
                        "a relabelling moves an input",
                        spec=self.spec.name,
                        found=name,
                        due=", ".join(sorted(inputs)),
                    )
            for index in relabel.indices:
                if (index, relabel.axis) not in found:
                    raise SpecError(
                        "a relabelling reads a free index of its axis at its image",
                        spec=self.spec.name,
                        index=index,
                        due=", ".join(f"{name} of {axis}" for name, axis in found),
                    )

    @cached_property
    def indices(self) -> tuple[Index, ...]:
        """The free indices: the claim holds at each of their positions."""
        found = {**free(self.left), **free(self.right)}
        for hypothesis in self.hypotheses:
            if isinstance(hypothesis, Sees):
                inside = free_in(hypothesis.where)
                found.update({i: None for i in inside if i != hypothesis.over})
            else:
                found.update(free_in(hypothesis))
        return tuple(found)

    def text(self) -> str:
        """The claim as one line."""
        sign = {"equal": "=", "zero": "=", "sign": ">=", "bound": "<="}[self.kind]
        head = f"{self.left} {sign} {self.right}"
        over = ", ".join(index.name for index in self.indices)
        body = f"for all {over}: {head}" if over else head
        given = [*map(str, self.hypotheses), *map(str, self.relabels)]
        return f"{body}, given {'; '.join(given)}" if given else body

    def __str__(self) -> str:
        return self.text()


def seen(where: Predicate, over: Index) -> Expr:
    """1 where some place of `over` satisfies `where`, 0 elsewhere: a count times its total inverse.

    >>> from attnverify.notation import axes
    >>> queries, keys = axes("queries keys")
    >>> print(seen(keys["j"] <= queries["i"], keys["j"]))
    (sum_j [j <= i]) / (sum_j [j <= i])
    """
    count = total(indicator(as_predicate(where)), over)
    return mul(count, inverse(count))


def definitions(spec: Spec) -> dict[str, Equation]:
    """The equation of each name that is not a state of a recurrence."""
    return {row.name: row for row in spec.equations if isinstance(row, Equation)}


def inline(spec: Spec, expr: Expr) -> Expr:
    """The expression with every name that the spec assigns replaced by its definition.

    Raises SpecError where a name is a state of a recurrence, which no expression defines.
    """
    for row in reversed(spec.equations):
        if isinstance(row, Recurrence):
            _refuse_states(spec, row, expr)
        else:
            expr = substitute(expr, {row.name: (row.head, row.body)})
    return expr


def _refuse_states(spec: Spec, row: Recurrence, expr: Expr) -> None:
    states = {step.name for step in row.steps}
    for entry in entries(expr):
        if entry.tensor.name in states:
            raise SpecError(
                "a recurrence has no definition to put in place of its name",
                spec=spec.name,
                found=str(entry),
                hint="prove it by induction",
            )


def with_input(spec: Spec, name: str, replacement: Expr, extra: Iterable[Entry] = ()) -> Spec:
    """The spec in which the input `name` is computed from `replacement`.

    Over the input's own indices.

    `replacement` reads inputs of the spec, `name` itself among them, or the new inputs declared in
    `extra`.

    >>> from attnverify import load
    >>> from attnverify.notation import tensors
    >>> spec = load("global")
    >>> (v,) = (e for e in spec.inputs if e.tensor.name == "V")
    >>> (c,) = tensors("c")
    >>> shift = c[v.indices[0], v.indices[1], v.indices[3]]
    >>> print(with_input(spec, "V", v + shift, extra=[shift]).equation("V_new"))
    V_new[b,h,j,c] = V[b,h,j,c] + c[b,h,c]
    """
    declared = next((entry for entry in spec.inputs if entry.tensor.name == name), None)
    if declared is None:
        raise ParameterError(
            "no input has this name",
            spec=spec.name,
            found=name,
            due=", ".join(entry.tensor.name for entry in spec.inputs),
        )
    changed = _unused(f"{name}_new", {*spec.heads, *(e.tensor.name for e in extra)})
    names = {name: changed}
    head = Entry(Tensor(changed, declared.tensor.kind), declared.places)
    rows = tuple(renamed(row, names) for row in spec.equations)
    used = {**dict.fromkeys(spec.inputs), **dict.fromkeys(extra)}
    return spec.replace(inputs=tuple(used), equations=(Equation(head, replacement), *rows))


def beside(spec: Spec, other: Spec, mark: str = "_2") -> tuple[Spec, dict[str, str]]:
    """One spec with the equations of both, and the new names of what `other` assigns.

    Inputs and parameters of equal name are shared, and so is what both compute in the same way;
    what else `other` assigns gets `mark`.
    Raises ParameterError for a parameter with two domains, SpecError for an input with two shapes.
    """
    rows, names = _beside(spec, other, mark)
    shared = {entry.tensor.name: entry for entry in spec.inputs}
    extra = tuple(entry for entry in other.inputs if entry.tensor.name not in shared)
    known = {parameter.name: parameter for parameter in spec.parameters}
    for parameter in other.parameters:
        if known.get(parameter.name, parameter) != parameter:
            raise ParameterError(
                "two specs side by side have one parameter with two domains",
                spec=f"{spec.name}, {other.name}",
                found=parameter.name,
                hint="specialise one of them, or rename its parameter",
            )
    joint = Spec(
        f"{spec.name} beside {other.name}",
        inputs=(*spec.inputs, *extra),
        equations=(*spec.equations, *rows),
        outputs=tuple(
            dict.fromkeys((*spec.outputs, *(names[out] for out in other.outputs if out in names)))
        ),
        parameters=(*spec.parameters, *(p for p in other.parameters if p.name not in known)),
    )
    return joint, names


def _beside(spec: Spec, other: Spec, mark: str) -> tuple[list[Row], dict[str, str]]:
    """The rows that `other` adds to a spec, and what each name that it assigns is called there."""
    taken = set(spec.heads) | {entry.tensor.name for entry in other.inputs}
    known = {_content(row): row for row in spec.equations}
    names: dict[str, str] = {}
    added: list[Row] = []
    for row in other.equations:
        same = known.get(_content(renamed(row, names)))
        for n, equation in enumerate(equations_of(row)):
            if same is not None:
                names[equation.name] = equations_of(same)[n].name
                continue
            names[equation.name] = _unused(equation.name + mark, taken)
            taken.add(names[equation.name])
        if same is None:
            added.append(renamed(row, names))
    return added, names


def _content(row: Row) -> object:
    """What a row computes, without the names that it gives to it."""
    own = {equation.name: f"#{n}" for n, equation in enumerate(equations_of(row))}
    return renamed(row, own)


def _unused(wanted: str, taken: Iterable[str]) -> str:
    names, name, number = set(taken), wanted, 2
    while name in names:
        name, number = f"{wanted}{number}", number + 1
    return name


def renamed(row: Row, names: Mapping[str, str]) -> Row:
    """The equation or recurrence with tensors renamed; what `names` lacks keeps its name."""
    if isinstance(row, Recurrence):
        steps = tuple(
            Equation(_entry(step.head, names), _tensors(step.body, names)) for step in row.steps
        )
        initial = tuple((names.get(n, n), _tensors(value, names)) for n, value in row.initial)
        return Recurrence(row.along, steps, initial, row.reverse)
    return Equation(_entry(row.head, names), _tensors(row.body, names))


def _entry(entry: Entry, names: Mapping[str, str]) -> Entry:
    name = names.get(entry.tensor.name, entry.tensor.name)
    return Entry(Tensor(name, entry.tensor.kind), entry.places)


def _tensors(expr: Expr, names: Mapping[str, str]) -> Expr:
    if isinstance(expr, Entry):
        return _entry(expr, names)
    return rebuild(
        expr, lambda child: _tensors(child, names), lambda where: _tensors_in(where, names)
    )


def _tensors_in(where: Predicate, names: Mapping[str, str]) -> Predicate:
    return rebuild_in(
        where,
        lambda side: _tensors(side, names),
        lambda leaf: Holds(_entry(leaf.entry, names)),
    )
