"""Who sees whom, through how many steps, and how many of them must follow one another."""

from __future__ import annotations

from typing import Any

from attnverify.claims.claim import Claim, all_of, met
from attnverify.claims.definition import asked
from attnverify.flow.graph import dependence
from attnverify.flow.statements import reachable_in_one, steps_apart
from attnverify.flow.theory.depth import window_reach
from attnverify.library import load
from attnverify.verdict import Verdict
from attnverify.verdict.figure import Curve, Figure, Scale

LENGTHS = (2, 3, 5, 8, 13)
SEQUENCES = ("queries", "keys", "time")


def _graph(spec: str, length: int, **choices: Any) -> Any:
    whole = load(spec, **choices)
    sizes = {axis.name: length for axis in whole.axes if axis.name in SEQUENCES}
    return dependence(whole, sizes)


def each_step(*specs: str) -> Verdict:
    """Whether an input at s reaches an output at t by t - s steps, in all of these networks.

    >>> each_step("elman", "lstm").status.value
    'PROVED'
    """
    return all_of(*(steps_apart(spec) for spec in specs))


def kernel_steps(taps: int = 3) -> Verdict:
    """Whether convolutions, one upon the other, take n - 1 steps from the first position.

    >>> kernel_steps(2).status.value, kernel_steps(3).status.value
    ('HELD', 'REFUTED')
    """
    whole = load("convolution", dilation=1)
    found = {n: dependence(whole, {"time": n, "taps": taps}).maximum_path_length() for n in LENGTHS}
    return met(
        all(steps == n - 1 for n, steps in found.items()), "kernel",
        ", ".join(f"{steps} steps at n = {n}" for n, steps in found.items()),
        cases=len(LENGTHS), scope=f"convolution of {taps} taps side by side, stacked",
    )  # fmt: skip


def constant_depth(spec: str = "global", **choices: Any) -> Verdict:
    """Whether the number of operations that must follow one another is the same for every length.

    >>> constant_depth().status.value, constant_depth("seq2seq_attention").status.value
    ('HELD', 'REFUTED')
    """
    depths = {n: _graph(spec, n, **choices).sequential_operations() for n in LENGTHS}
    others = ("global", "linear_rnn", "elman", "lstm", "seq2seq_attention")
    curves = tuple(
        Curve.of(name, LENGTHS, [_graph(name, n).sequential_operations() for n in LENGTHS])
        for name in others
    )
    figure = Figure(
        "Operations that must follow one another",
        Scale("positions n", log=True),
        Scale("equations on the longest chain", log=True),
        curves,
        "counted in the dependence graph of each spec; no draws",
    )
    return met(
        len(set(depths.values())) == 1, "depth",
        f"{spec}: " + ", ".join(f"{v} at n = {n}" for n, v in depths.items()),
        cases=len(LENGTHS),
        scope="as the equations are written; a sum or a softmax is one operation",
        evidence={"figure": figure.plain()} if spec == "global" else {},
    )  # fmt: skip


def hidden_keys() -> Verdict:
    """Local attention gives no weight outside its window."""
    return asked("masked weights are zero", "local")


def windows() -> Verdict:
    """How far stacked windows reach, read off the Jacobian."""
    return window_reach()


def receptive_fields() -> Verdict:
    """The dependence graph says of stacked windows what their Jacobians say.

    >>> receptive_fields().status.value
    'HELD'
    """
    cases = [(w, layers) for w in (2, 3, 4) for layers in (1, 2, 3)]
    found = [_graph("sliding_window", 16, window=w).receptive_field(layers) for w, layers in cases]
    due = [min(16, layers * (w - 1) + 1) for w, layers in cases]
    return met(
        found == due, "receptive field",
        f"positions seen: {found}, due {due}",
        cases=len(cases), scope="16 positions, causal windows",
    )  # fmt: skip


CLAIMS: tuple[Claim, ...] = (
    Claim("every position is reachable in one step", lambda: reachable_in_one("global")),
    Claim(
        "every position is reachable in one step of windowed attention",
        lambda: reachable_in_one("local", left=1, right=1),
        fails="a window sees its neighbours; what lies farther takes several layers",
        given="local, one key on each side",
    ),
    Claim(
        "a recurrent network needs t - s steps from s to t",
        lambda: each_step("elman", "lstm", "gru", "linear_rnn"),
    ),
    Claim(
        "networks without attention need t - s steps",
        kernel_steps,
        fails="a convolution reaches all taps of its kernel at once",
    ),
    Claim("attention considers all inputs simultaneously", constant_depth),
    Claim(
        "a decoder with attention considers all inputs simultaneously",
        lambda: constant_depth("seq2seq_attention"),
        fails="its encoder and decoder are recurrences",
    ),
    Claim(
        "attention considers all inputs simultaneously, in whatever form it is computed",
        lambda: constant_depth("linear", causal=True, form="recurrent"),
        fails="linear attention in recurrent form has a step for each position",
    ),
    Claim("local attention restricts to a subset of the positions", hidden_keys),
    Claim("a stack of L windows of w keys reaches L (w - 1) positions back", windows),
    Claim("a stack of L windows sees L (w - 1) + 1 positions", receptive_fields),
)
