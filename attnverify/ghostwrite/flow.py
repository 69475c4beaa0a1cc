"""The text of tests of gradient flow: what comes back from one position of the output."""

from __future__ import annotations

from attnverify.equations import place_axis
from attnverify.errors import ParameterError
from attnverify.ghostwrite.properties import shape, test
from attnverify.invariants import applicable, roles
from attnverify.spec import Spec

# The largest slope of each activation (Pascanu et al. 2013).
SLOPES = {"logistic": "1 / 4", "tanh": "1", "relu": "1"}
SEED = "t, one = subject.seeded(case)"


def written_flow(spec: Spec) -> list[str]:
    """The tests of gradient flow that a spec allows.

    Raises ParameterError where it has no real input, or its output runs along no sequence.

    >>> from attnverify.library import load
    >>> [text.splitlines()[2][9:-7] for text in written_flow(load("global"))]
    ['gradients_of_one_position_agree', 'values_get_the_whole_cotangent']
    """
    head = spec.heads[spec.outputs[0]]
    along = {place_axis(place).name for place in head.places}
    real = [entry for entry in spec.inputs if entry.tensor.kind == "real"]
    if not along & {"queries", "time"} or not real:
        raise ParameterError(
            "flow is measured from one position of a sequence to another",
            spec=spec.name,
            found=str(head),
            due="an output along queries or time by itself, and a real input",
        )
    rows = {row.name for row, unmet in applicable(spec) if not unmet} - set(spec.announces)
    found = [_agreement(spec)]
    found += _future(spec) if "causality" in rows else []
    found += _values(spec) if "value gradients sum to output cotangents" in rows else []
    return found + _steps(spec)


def _agreement(spec: Spec) -> str:
    slopes = ", ".join(f"d{e.tensor.name}" for e in spec.inputs if e.tensor.kind == "real")
    return test(
        "gradients_of_one_position_agree",
        f"For a cotangent at one position of {spec.outputs[0]}, every entry of {slopes} is the "
        "oracle's: exactly zero where nothing reaches it, and as large as due from every distance.",
        "_, one = subject.seeded(case)",
        "subject.backward_agrees(one)",
    )


def _future(spec: Spec) -> list[str]:
    names = [
        e.tensor.name
        for e in spec.inputs
        if e.tensor.kind == "real" and {i.axis.name for i in e.indices} & {"keys", "time"}
    ]
    lines = [
        f'subject.gradient(one, "{n}").equals(0, where=subject.later(one, "{n}", t))' for n in names
    ]
    says = f"No gradient comes to {', '.join(names)} from an output before: it sees nothing later."
    return [test("no_gradient_from_the_future", says, SEED, *lines)] if names else []


def _values(spec: Spec) -> list[str]:
    V = roles(spec).direct_values
    out = spec.heads[spec.outputs[0]]
    if V is None:
        return []
    places = [[place_axis(p).name for p in head.places] for head in (V, out)]
    keys, queries = (
        next((n for n in ("keys", "queries", "time") if n in row), "") for row in places
    )
    left = [[name for name in row if name not in (keys, queries)] for row in places]
    if left[0] != left[1] or not keys or not queries:
        return []
    name = V.tensor.name
    return [
        test(
            "values_get_the_whole_cotangent",
            f"The direct paths to {shape(spec, name)} share out the cotangent of one position, "
            "since its weights sum to one.",
            "_, one = subject.seeded(case)",
            f'whole = subject.cotangent(one).summed("{queries}")',
            f'subject.gradient(one, "{name}").summed("{keys}").equals(whole)',
        )
    ]


def _steps(spec: Spec) -> list[str]:
    """Pascanu's bound, for the network that it is about."""
    activation = spec.choices.get("activation")
    if spec.name != "elman" or activation not in SLOPES:
        return []
    return [
        test(
            "each_step_shrinks_gradients",
            "A step multiplies gradients by at most gamma sigma_max(U) (Pascanu et al. 2013).",
            SEED,
            f"gamma = {SLOPES[str(activation)]}",
            'U, W = (np.linalg.norm(case.arrays[name].astype(float), 2) for name in "UW")',
            'steps = t - np.arange(case.sizes["time"])',
            'sent = subject.cotangent(one).norms("time").value[t]',
            "bound = np.where(steps >= 0, sent * gamma * W * (gamma * U) ** np.abs(steps), 0)",
            'subject.gradient(one, "X").norms("time").at_most(bound)',
        )
    ]
