"""Edges as statements about a joint spec, and the cases that meet their hypotheses."""

from __future__ import annotations

from attnverify.algebra.terms import Entry, Place, as_expr
from attnverify.errors import SpecError
from attnverify.lattice.edge import Edge, Scene, Side
from attnverify.library import load
from attnverify.provers.draws import Group, Plan, whole_sizes
from attnverify.spec import Spec
from attnverify.statement import Statement, renamed
from attnverify.transforms.naming import unused
from attnverify.transforms.relabel import cut, with_axes, with_nodes, with_values


def prepared(side: Side) -> Spec:
    """One end of an edge: its member loaded, relabelled, and its values put in."""
    spec = load(side.spec, **side.choose)
    if side.nodes is not None:
        spec = with_nodes(spec, side.nodes(spec))
    if side.axes:
        spec = with_axes(spec, side.axes)
    if more := side.parameters():
        spec = spec.replace(parameters=(*spec.parameters, *more))
    if side.values:
        assigned = [n for n in side.values if n not in {e.tensor.name for e in spec.inputs}]
        spec = cut(spec, *assigned) if assigned else spec
        heads = {n: spec.heads[n] for n in side.values if n in spec.heads}
        made = {name: side.values[name](head) for name, head in heads.items()}
        spec = with_values(
            spec, {n: as_expr(v) if isinstance(v, int) else v for n, v in made.items()}
        )
    return spec


def statement(edge: Edge) -> Statement:
    """The claim of an edge, about one spec that computes both ends.

    Raises AttnverifyError where the ends do not load or do not fit together.
    """
    joint, names = _joined(prepared(edge.general), prepared(edge.special))
    words = f"{edge.source} is {edge.words}"
    left = joint.heads[edge.output]
    given = edge.given(Scene(left, joint))
    if edge.sides is not None:
        one, two = edge.sides(joint, names)
        return Statement(edge.words, edge.claim, joint, one, two, given, words=words)
    other = joint.heads[names["O"]]
    right = Entry(other.tensor, _places(left, other, joint.name))
    return Statement(edge.words, edge.claim, joint, left, right, given, words=words)


def _joined(general: Spec, special: Spec) -> tuple[Spec, dict[str, str]]:
    """One spec with both, and the new names of what the special one assigns.

    Unlike two specs side by side, the special one may read what the general one assigns.
    """
    taken = {*general.heads, *special.heads}
    names: dict[str, str] = {}
    for name in special.heads:
        if name not in {entry.tensor.name for entry in special.inputs}:
            names[name] = unused(f"{name}_2", taken)
            taken.add(names[name])
    known = {parameter.name: parameter for parameter in general.parameters}
    for parameter in special.parameters:
        if known.setdefault(parameter.name, parameter) != parameter:
            raise SpecError(
                "two ends of an edge have one parameter with two domains",
                spec=f"{general.name}, {special.name}",
                found=parameter.name,
            )
    joint = Spec(
        f"{general.name} beside {special.name}",
        inputs=(
            *general.inputs,
            *(e for e in special.inputs if e.tensor.name not in general.heads),
        ),
        equations=(*general.equations, *(renamed(row, names) for row in special.equations)),
        outputs=(*general.outputs, *(names[out] for out in special.outputs)),
        parameters=tuple(known.values()),
    )
    return joint, names


def _places(left: Entry, other: Entry, spec: str) -> tuple[Place, ...]:
    """The other output's places at the indices of the left one on the same axes."""
    own = {index.axis.name: index for index in left.indices}
    fresh = {index.name for index in left.indices}
    places: list[Place] = []
    for place in other.places:
        parts = place if isinstance(place, tuple) else (place,)
        for part in parts:
            if part.axis.name not in own and part.name in fresh:
                raise SpecError(
                    "the outputs of two ends have an index of one name on two axes",
                    spec=spec,
                    index=part.name,
                )
        moved = tuple(own.get(part.axis.name, part) for part in parts)
        places.append(moved if isinstance(place, tuple) else moved[0])
    return tuple(places)


def steered(edge: Edge, claim: Statement, drawn: Plan) -> Plan:
    """The draws with the sizes and parameters that an edge's hypotheses ask for."""
    return tuple(_steered(edge, claim.spec, group) for group in drawn)


def _steered(edge: Edge, spec: Spec, group: Group) -> Group:
    sizes = whole_sizes(spec.axes, group.sizes)
    for axis, size in edge.sizes.items():
        sizes = whole_sizes(spec.axes, {**sizes, axis: size(sizes)})
    values = {
        parameter: edge.parameters[parameter.name](sizes)
        if parameter.name in edge.parameters
        else value
        for parameter, value in group.parameters.items()
    }
    return Group({**group.sizes, **sizes}, values, group.draws)
