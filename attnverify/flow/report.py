"""The flow of one spec, alone or beside another: gradient by distance, paths, cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from attnverify.errors import AttnverifyError
from attnverify.flow.cost import cost, shown
from attnverify.flow.graph import dependence
from attnverify.flow.initial import Start, sizes_of
from attnverify.flow.jacobian import Jacobian, Profile, profile
from attnverify.flow.layers import deep, layer
from attnverify.library import load
from attnverify.spec import Spec
from attnverify.verdict import Report, Section, Status, Verdict, Witness
from attnverify.verdict.figure import Curve, Figure, Scale, Table
from attnverify.verify import environment

OnVerdict = Callable[[str, Verdict], object]
# Sizes at which paths are counted one by one.
LENGTHS = (2, 4, 8, 16)


@dataclass(frozen=True)
class Setting:
    """At which sizes, how often, and how networks begin."""

    length: int
    width: int
    draws: int
    layers: int
    seed: int
    start: Start

    @property
    def words(self) -> str:
        """The setting as conditions are told."""
        depth = f"{self.layers} layers, " if self.layers > 1 else ""
        begin = f"gain {self.start.gain:g}, inputs of scale {self.start.scale:g}"
        return f"{depth}{self.length} positions, width {self.width}, {begin}"


def flow(
    spec: str | Spec,
    *,
    against: str | Spec | None = None,
    length: int = 32,
    width: int = 8,
    draws: int = 12,
    layers: int = 1,
    gain: float = 1.0,
    scale: float = 1.0,
    seed: int = 0,
    on_verdict: OnVerdict | None = None,
    **values: Any,
) -> Report:
    """How gradients and information flow through a spec, beside another one if `against` names it.

    Attention over Q, K and V is measured as a layer of X, with projections. `length` is the size of
    sequences, `width` of channels, `layers` the depth of a stack; inputs have standard deviation
    `scale`, weights variance gain^2 over their fan-in. Other keywords choose the member of `spec`
    and give its parameters values.

    Raises LoadError or ParameterError where a spec does not load, leaves a parameter open, or runs
    along no sequence.

    >>> report = flow("causal", against="elman", length=8, width=4, draws=3)
    >>> [section.spec for section in report.sections]
    ['causal', 'elman', 'causal beside elman']
    """
    told = on_verdict or (lambda _title, _verdict: None)
    setting = Setting(length, width, draws, layers, seed, Start(gain=gain, scale=scale))
    asked = [load(spec, **values), *([load(against)] if against is not None else [])]
    networks = [network(one, layers) for one in asked]
    profiles = [_profile(one, setting) for one in networks]
    sections = []
    for one, measured, found in zip(asked, networks, profiles, strict=True):
        rows = [_zeros(measured, found, setting), _paths(one), _counts(one)]
        sections.append(_section(one.name, [row for row in rows if row], told, one))
    if against is not None:
        title = f"{asked[0].name} beside {asked[1].name}"
        beside = [_beside(asked, profiles, setting), _cheaper(asked)]
        sections.append(_section(title, beside, told))
    return Report(tuple(sections), environment())


def _section(
    title: str, verdicts: list[Verdict], told: OnVerdict, spec: Spec | None = None
) -> Section:
    for verdict in verdicts:
        told(title, verdict)
    if spec is None:
        return Section(title, tuple(verdicts), figures={"kind": "claims"})
    shown_too = {"description": spec.description, "equations": spec.printed()}
    return Section(title, tuple(verdicts), figures={**shown_too, "kind": "claims"})


def network(spec: Spec, layers: int = 1) -> Spec:
    """What is measured: attention as a layer of X, and stacks of layers."""
    reads = {entry.tensor.name for entry in spec.inputs}
    one = layer(spec) if {"Q", "K", "V"} <= reads else spec
    return deep(one, layers) if layers > 1 else one


def _profile(network: Spec, setting: Setting) -> Profile:
    return profile(
        network, length=setting.length, width=setting.width, draws=setting.draws,
        seed=setting.seed, start=setting.start,
    )  # fmt: skip


def _figure(title: str, found: Mapping[str, Profile], setting: Setting) -> dict[str, Any]:
    curves = []
    for name, one in found.items():
        for norm in ("spectral", "frobenius"):
            values = one.curve(norm)
            told = f"{name}, {norm}" if len(found) == 1 else name
            curves.append(Curve.of(told, *(values[k] for k in ("x", "y", "low", "high"))))
            if len(found) > 1:
                break
    return Figure(
        title,
        Scale("distance t - s, in positions"),
        Scale("norm of d output_t / d input_s", log=True),
        tuple(curves),
        f"{setting.draws} draws; median, and quartiles as a band; {setting.words}",
    ).plain()


def _zeros(network: Spec, found: Profile, setting: Setting) -> Verdict:
    """Whether a gradient is exactly 0 wherever the dependence graph has no path."""
    one = Jacobian(network)
    sizes = sizes_of(network, setting.length, setting.width, {})
    target = 0 if one.follows else sizes[one.target] - 1
    graph = dependence(network, sizes, inputs=[entry.tensor.name for entry in one.inputs])
    seen = np.array([graph.reaches(s, target) for s in range(sizes[one.source])])
    stray = np.flatnonzero((found.spectral > 0).any(axis=0) & ~seen)
    reached = found.median()[seen]
    told = (
        f"from {int(seen.sum())} of {len(seen)} positions; median norm {reached[0]:.3g} from the "
        f"farthest of them, {reached[-1]:.3g} from the nearest"
        if seen.any()
        else "from nowhere"
    )
    evidence = {
        "figure": _figure(f"Jacobian by distance: {network.name}", {network.name: found}, setting)
    }
    if not len(stray):
        return Verdict(
            "a gradient comes only from where a path leads", Status.HELD, told,
            cases=setting.draws, scope=setting.words, evidence=evidence,
        )  # fmt: skip
    s = int(stray[0])
    return Verdict(
        "a gradient comes only from where a path leads", Status.REFUTED,
        f"position {s} has a gradient of norm {found.spectral[:, s].max():.3g} and no path",
        cases=setting.draws, scope=setting.words, evidence=evidence,
        witness=Witness(sizes, seed=setting.seed, index={"s": s, "t": target}),
    )  # fmt: skip


def _paths(spec: Spec) -> Verdict:
    """How far information travels in one step, at several lengths."""
    rows = []
    for n in LENGTHS:
        graph = dependence(spec, sizes_of(spec, n, 2))
        rows.append((n, graph.maximum_path_length(), graph.sequential_operations()))
    table = Table(
        ("positions n", "maximum path length", "sequential operations"),
        tuple(tuple(map(str, row)) for row in rows),
        "counted in the dependence graph",
    )
    n, longest, depth = rows[-1]
    return Verdict(
        "paths from any input to any output", Status.HELD,
        f"at n = {n} the longest shortest path has {longest} steps, and {depth} operations must "
        "follow one another",
        cases=len(rows), scope=f"n from {LENGTHS[0]} to {n}", evidence={"table": table.plain()},
    )  # fmt: skip


def _counts(spec: Spec) -> Verdict | None:
    """Operations and entries as polynomials; None where the recipe has none."""
    try:
        found = cost(spec)
    except AttnverifyError:
        return None
    rows = tuple((name, shown(expr)) for name, expr in found.table().items() if expr != 0)
    return Verdict(
        "cost", Status.HELD, f"{shown(found.multiply_adds)} multiply-adds",
        scope="exact for all sizes, derived from the compiled recipe",
        evidence={"table": Table(("count", "polynomial in the sizes"), rows).plain()},
    )  # fmt: skip


def _beside(specs: list[Spec], profiles: list[Profile], setting: Setting) -> Verdict:
    """Which of two carries more gradient over the farthest distance, if all draws agree."""
    far = [one.spectral[:, 0] for one in profiles]
    first = 0 if np.median(far[0]) >= np.median(far[1]) else 1
    more, less = far[first], far[1 - first]
    names = [spec.name for spec in specs]
    agree = bool((more > less).all())
    return Verdict(
        f"more gradient arrives from afar through {names[first]} than through {names[1 - first]}",
        Status.HELD if agree else Status.UNDECIDED,
        f"{int(profiles[0].distances[0])} positions back the median norm is "
        f"{np.median(far[0]):.3g} in {names[0]}, {np.median(far[1]):.3g} in {names[1]}"
        + ("" if agree else f"; {int((more > less).sum())} of {len(more)} draws agree"),
        cases=setting.draws, scope=setting.words,
        evidence={"figure": _figure("Side by side", _named(specs, profiles), setting)},
    )  # fmt: skip


def _named(specs: list[Spec], profiles: list[Profile]) -> dict[str, Profile]:
    """Profiles by name; two members of one family are told apart by their place."""
    names = [spec.name for spec in specs]
    alike = len(set(names)) < len(names)
    told = [f"{name} ({n})" if alike else name for n, name in enumerate(names, 1)]
    return dict(zip(told, profiles, strict=True))


def _cheaper(specs: list[Spec]) -> Verdict:
    """Multiply-adds of both, side by side."""
    counts = [cost(spec).multiply_adds for spec in specs]
    rows = tuple((spec.name, shown(found)) for spec, found in zip(specs, counts, strict=True))
    return Verdict(
        "cost side by side", Status.HELD, "; ".join(f"{name}: {told}" for name, told in rows),
        scope="multiply-adds, exact for all sizes",
        evidence={"table": Table(("spec", "multiply-adds"), rows).plain()},
    )  # fmt: skip
