"""Specs as layers that read and write one sequence, and stacks of them, which are specs too."""

from __future__ import annotations

from attnverify.algebra.terms import Axis, Entry, Index, Place, Tensor, add, mul, total
from attnverify.equations import Equation, Statement, place_axis
from attnverify.errors import ParameterError
from attnverify.invariants.roles import SEQUENCES
from attnverify.spec import Spec
from attnverify.statement import renamed
from attnverify.transforms.naming import unused
from attnverify.transforms.prune import prune
from attnverify.transforms.relabel import with_axes

PROJECTED = ("Q", "K", "V")


def layer(spec: Spec, *, residual: bool = False) -> Spec:
    """Attention over Q, K and V as a self-attention layer from X to Y (batch, time, model).

    Q, K and V are X W_Q, X W_K and X W_V, and Y is O W_O (Vaswani et al. 2017, section 3.2.2), with
    `residual` X + O W_O. Raises ParameterError where the spec does not read Q, K and V along a
    sequence.

    >>> from attnverify import load
    >>> print(layer(load("causal")).equation("Y"))
    Y[b,i,e] = sum_h,c O[b,h,i,c] W_O[h,c,e]
    """
    names = [entry.tensor.name for entry in spec.inputs]
    if any(name not in names for name in PROJECTED):
        raise ParameterError(
            "a layer is made of attention over Q, K and V",
            spec=spec.name,
            found=", ".join(names),
            hint="a spec that reads X is a layer as it is",
        )
    one = with_axes(spec, {"queries": "time", "keys": "time"})
    return _projected(spec, one, residual=residual)


def _projected(spec: Spec, one: Spec, *, residual: bool) -> Spec:
    """The layer around attention whose queries and keys are of one sequence."""
    model = Axis("model")
    letters = {index.name for head in one.heads.values() for index in head.indices}
    e = Index(unused("e", letters), model)
    taken = set(one.heads)

    def fresh(name: str) -> Tensor:
        taken.add(found := unused(name, taken))
        return Tensor(found)

    X, Y = fresh("X"), fresh("Y")
    inputs = {entry.tensor.name: entry for entry in one.inputs}
    projections, weights = [], []
    for name in PROJECTED:
        head = inputs[name]
        W = Entry(fresh(f"W_{name}"), (e, *_rest(head)))
        read = Entry(X, (*_along(head, spec), e))
        weights.append(W)
        projections.append(Equation(head, total(mul(read, W), over=e)))
    out = one.heads[one.outputs[0]]
    W_O = Entry(fresh("W_O"), (*_rest(out), e))
    written = (*_along(out, spec), e)
    over = [i for place in _rest(out) for i in (place if isinstance(place, tuple) else (place,))]
    value = total(mul(out, W_O), over=over)
    value = add(Entry(X, written), value) if residual else value
    others = [entry for entry in one.inputs if entry.tensor.name not in PROJECTED]
    return Spec(
        f"{spec.name}_layer",
        inputs=[Entry(X, (*_along(inputs["Q"], spec), e)), *weights, W_O, *others],
        equations=[*projections, *one.equations, Equation(Entry(Y, written), value)],
        outputs=[Y],
        parameters=one.parameters,
        description=f"{spec.name} as a layer from X to Y.",
    )


def _along(head: Entry, spec: Spec) -> tuple[Index, Index]:
    """The places of an entry that every layer has: its batch and its position."""
    found = [p for p in head.places if isinstance(p, Index) and _common(p)]
    if len(found) != 2:
        raise ParameterError(
            "a layer runs along one sequence, in a batch",
            spec=spec.name,
            found=str(head),
            due="a place for the batch and one for the position",
        )
    return found[0], found[1]


def _common(place: Index) -> bool:
    return place.axis.name == "batch" or place.axis.name in SEQUENCES


def _axes(head: Entry) -> list[Axis]:
    return [place_axis(place) for place in head.places]


def _rest(head: Entry) -> tuple[Place, ...]:
    return tuple(p for p in head.places if not (isinstance(p, Index) and _common(p)))


def deep(spec: Spec, layers: int) -> Spec:
    """A stack of `layers` copies of a spec, each reading what the one before writes.

    The spec reads one real input along its sequence, such as X (batch, time, model), and writes its
    first output along it; each copy has weights of its own, named with its number. Raises
    ParameterError where it does not, or for fewer than one layer.

    >>> from attnverify import load
    >>> deep(load("elman"), 2).outputs
    ('H_layer2',)
    """
    if layers < 1:
        raise ParameterError("a stack has at least one layer", spec=spec.name, found=layers)
    source, out = source_of(spec), spec.heads[spec.outputs[0]]
    before, after = source.places[-1], out.places[-1]
    inner = spec
    if place_axis(before) != place_axis(after):
        inner = with_axes(spec, {place_axis(before).name: place_axis(after).name})
    inputs: list[Entry] = [source]
    equations: list[Statement] = []
    above = source.tensor.name
    for number in range(1, layers + 1):
        copy = spec if number == 1 else inner
        names = {
            name: f"{name}_layer{number}"
            for name, head in copy.heads.items()
            if head.tensor.kind == "real" and name != source.tensor.name
        }
        names[source.tensor.name] = above
        inputs += [
            Entry(Tensor(names.get(e.tensor.name, e.tensor.name), e.tensor.kind), e.places)
            for e in copy.inputs
            if e.tensor.name != source.tensor.name
        ]
        equations += [renamed(row, names) for row in copy.equations]
        above = names[spec.outputs[0]]
    return Spec(
        f"{spec.name}_{layers}_layers",
        inputs=list(dict.fromkeys(inputs)),
        equations=prune(equations, (above,)),
        outputs=[above],
        parameters=spec.parameters,
        description=f"A stack of {layers} layers of {spec.name}.",
    )


def source_of(spec: Spec) -> Entry:
    """The one real input that runs along the sequence that the output runs along, with its shape.

    Raises ParameterError where there is none or more than one.
    """
    out = spec.heads[spec.outputs[0]]
    found = [
        entry
        for entry in spec.inputs
        if entry.tensor.kind == "real" and _axes(entry)[:-1] == _axes(out)[:-1]
    ]
    if len(found) != 1:
        raise ParameterError(
            "a stack is made of specs that read one sequence and write another of its shape",
            spec=spec.name,
            found=f"output {out}, inputs {', '.join(map(str, spec.inputs))}",
            hint="attention over Q, K and V becomes one with attnverify.flow.layers.layer",
        )
    return found[0]
