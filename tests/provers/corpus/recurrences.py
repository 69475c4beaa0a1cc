"""Recurrences beside what they compute: true as written, and false by one step each.

Every pair is a recurrence along time with the name O for what it reads out, and an expression that
is claimed to equal it. Faults are those that implementations have: a decay too many, a state read a
step too early, a missing rescale, a wrong initial value, steps that run the other way.
"""

from __future__ import annotations

from collections.abc import Sequence

from attnverify.algebra.terms import Entry, Expr, Index, Parameter, Tensor
from attnverify.equations import Statement as Row
from attnverify.notation import (
    axes,
    eq,
    exp,
    larger,
    let,
    logistic,
    maximum,
    parameter,
    previous,
    recur,
    softmax,
    tanh,
    tensors,
    total,
    where,
)
from attnverify.spec import Spec
from attnverify.statement import Relabel, Statement, beside, with_input

batch, time, dims, keys, tile = axes("batch time key_dim keys tile")
b, a, t, s, l = batch["b"], batch["a"], time["t"], time["s"], time["l"]
k, m, j, i = dims["k"], dims["m"], keys["j"], tile["i"]
X, Y, G, W, H, H0, M, N, Z, O, P, u, U, S, V, c = tensors("X Y G W H H0 M N Z O P u U S V c")
last = eq(t, time.size - 1)
gamma = parameter("gamma", gt=0)


def spec_of(
    inputs: Sequence[Entry],
    rows: Sequence[Row],
    output: Tensor = O,
    parameters: Sequence[Parameter] = (),
) -> Spec:
    """A spec by its rows."""
    return Spec("recurrent", inputs, rows, [output], parameters=parameters)


def equals(name: str, spec: Spec, due: Expr, out: Entry = O[b, t]) -> Statement:
    """The claim that the output is an expression."""
    return Statement(name, "equal", spec, out, due)


def summing(
    gain: Expr | None = None,
    added: Expr = X[b, t],
    *,
    begun: object = 0,
    reverse: bool = False,
    read_before: bool = False,
) -> Spec:
    """A state with a gain, to which a step adds; read after the step, or before it."""
    before = previous(M[b, t])
    kept = before if gain is None else gain * before
    steps = [let(M[b, t], kept + added)]
    if read_before:
        steps = [let(O[b, t], before + 0 * X[b, t]), *steps]
    row = recur(t, steps, {M: begun}, reverse=reverse)
    inputs = [X[b, t], Y[b, t], G[b, t], H0[b], W[b]]
    return spec_of(inputs, [row] if read_before else [row, let(O[b, t], M[b, t] + 0)])


def kept(where_: Expr, log_gain: Expr, added: Expr = X[b, s]) -> Expr:
    """The closed form: each earlier addition under the gains since."""
    return total(where_ * exp(log_gain) * added, over=s)


upto, strictly, after = where(s <= t), where(s < t), where(s >= t)
since = total(where((l <= t) & (l > s)) * G[b, l], over=l)
since_each = total(where(l <= t) * G[b, l], over=l) - total(where(l <= s) * G[b, l], over=l)
gone_each = total(where(l >= t) * G[b, l], over=l) - total(where(l >= s) * G[b, l], over=l)

CLOSED = [
    equals("a running sum", summing(), total(upto * X[b, s], over=s)),
    equals(
        "a running sum from a start", summing(begun=H0[b]), H0[b] + total(upto * X[b, s], over=s)
    ),
    equals("a running sum from the end", summing(reverse=True), total(after * X[b, s], over=s)),
    equals("a sum before each step", summing(read_before=True), total(strictly * X[b, s], over=s)),
    equals("a constant decay", summing(exp(W[b])), kept(upto, (t - s) * W[b])),
    equals(
        "a constant decay from the end",
        summing(exp(W[b]), reverse=True),
        kept(after, (s - t) * W[b]),
    ),
    equals(
        "a constant decay of a start",
        summing(exp(W[b]), begun=H0[b]),
        exp((t + 1) * W[b]) * H0[b] + kept(upto, (t - s) * W[b]),
    ),
    equals("a gate", summing(exp(G[b, t])), kept(upto, since_each)),
    equals("a gate from the end", summing(exp(G[b, t]), reverse=True), kept(after, gone_each)),
    equals(
        "two gates",
        summing(exp(G[b, t]) * exp(W[b])),
        kept(upto, since_each + (t - s) * W[b]),
    ),
]

NOT_CLOSED = [
    equals("a running sum without its last", summing(), total(strictly * X[b, s], over=s)),
    equals("a running sum from nowhere", summing(begun=H0[b]), total(upto * X[b, s], over=s)),
    equals("a start of one", summing(begun=1), total(upto * X[b, s], over=s)),
    equals("a running sum the other way", summing(reverse=True), total(upto * X[b, s], over=s)),
    equals(
        "a sum before each step, and the step",
        summing(read_before=True),
        total(upto * X[b, s], over=s),
    ),
    equals("a decay too many", summing(exp(W[b])), kept(upto, (t - s + 1) * W[b])),
    equals("a decay too few", summing(exp(W[b])), kept(upto, (t - s - 1) * W[b])),
    equals("a decay the other way", summing(exp(W[b])), kept(upto, (s - t) * W[b])),
    equals(
        "a decay of what is to come", summing(exp(W[b]), reverse=True), kept(after, (t - s) * W[b])
    ),
    equals("no decay", summing(exp(W[b])), total(upto * X[b, s], over=s)),
    equals(
        "a start that does not decay",
        summing(exp(W[b]), begun=H0[b]),
        H0[b] + kept(upto, (t - s) * W[b]),
    ),
    equals(
        "a start that decays a step late",
        summing(exp(W[b]), begun=H0[b]),
        exp(t * W[b]) * H0[b] + kept(upto, (t - s) * W[b]),
    ),
    equals(
        "a gate that takes what is written",
        summing(exp(G[b, t]), exp(G[b, t]) * X[b, t]),
        kept(upto, since_each),
    ),
    equals("a gate of the step before", summing(exp(G[b, t])), kept(strictly, since_each)),
    equals(
        "a gate from the wrong end", summing(exp(G[b, t]), reverse=True), kept(after, since_each)
    ),
    equals(
        "a gate that a start passes", summing(exp(G[b, t]), begun=H0[b]), kept(upto, since_each)
    ),
    equals("a masked gate", summing(where(t > 1) * exp(G[b, t])), kept(upto, since_each)),
    equals("a gain that is no exponential", summing(G[b, t]), kept(upto, since_each)),
    equals("a gain of its logarithm", summing(G[b, t]), total(upto * X[b, s], over=s)),
    equals(
        "the gate of another entry", summing(exp(total(G[a, t], over=a))), kept(upto, since_each)
    ),
    equals(
        "a memory of two steps",
        summing(None, X[b, t] + previous(M[b, t])),
        total(upto * X[b, s], over=s),
    ),
]


# ---- online softmax over tiles of any keys: tile p[j] of key j is given by an integer input


def online(
    *,
    rescale: bool = True,
    rescale_out: bool = True,
    begun: object = 0,
    fresh: bool = True,
    final: int = 1,
    level: str = "running",
) -> Spec:
    """Running maximum, sum and output; keys of a tile are those that an integer input says."""
    part = Tensor("part", "int")
    here = eq(part[j], i)
    top, running, ratio = P[b, i], N[b, i], G[b, i]
    weight = where(here) * exp(S[b, j] - (running if level == "running" else top))
    end = where(eq(i, tile.size - final))
    begin = where(eq(i, 0)) * top + where(i > 0) * larger(previous(running), top)
    factor = (
        where(i > 0) * exp(previous(running) - running)
        if fresh
        else exp(previous(running) - running)
    )
    row = recur(
        i,
        [
            let(running, begin),
            let(ratio, factor),
            let(Z[b, i], (ratio if rescale else 1) * previous(Z[b, i]) + total(weight, over=j)),
            let(
                U[b, i],
                (ratio if rescale_out else 1) * previous(U[b, i]) + total(weight * V[b, j], over=j),
            ),
        ],
        {N: 0, Z: begun, U: 0},
    )
    return Spec(
        "online",
        [S[b, j], V[b, j], part[j]],
        [
            let(top, maximum(S[b, j], over=j, where=here)),
            row,
            let(O[b], total(end * U[b, i], over=i) / total(end * Z[b, i], over=i)),
        ],
        [O],
    )


PART = Tensor("part", "int")
TILED = (PART[j] >= 0) & (PART[j] < tile.size)
WHOLE = total(softmax(S[b, j], over=j, where=TILED) * V[b, j], over=j)


def streams(name: str, spec: Spec, due: Expr = WHOLE) -> Statement:
    """The claim that the output is softmax attention over all keys that are in a tile."""
    return Statement(name, "equal", spec, O[b], due)


ONLINE = [
    streams("online softmax over any tiles", online()),
    streams("online softmax without a mask on the first rescale", online(fresh=False)),
]
NOT_ONLINE = [
    streams("a sum that is not rescaled", online(rescale=False)),
    streams("an output that is not rescaled", online(rescale_out=False)),
    streams("neither rescaled", online(rescale=False, rescale_out=False)),
    streams("a sum that begins with one", online(begun=1, fresh=False)),
    streams("the tile's maximum for the running one", online(level="tile")),
    streams("the last tile but one", online(final=2)),
    streams("keys of no tile", online(), total(softmax(S[b, j], over=j) * V[b, j], over=j)),
    streams(
        "the first tile alone",
        online(),
        total(softmax(S[b, j], over=j, where=eq(PART[j], 0)) * V[b, j], over=j),
    ),
]


# ---- causality: two computations, one with inputs changed after a step


def network(
    body: Expr, *, begun: Expr | None = None, reverse: bool = False, rest: Sequence[Row] = ()
) -> Spec:
    """A nonlinear recurrence along time."""
    row = recur(
        t, [let(H[b, t, k], body)], {H: H0[b, k] if begun is None else begun}, reverse=reverse
    )
    return Spec("network", [X[b, t, k], H0[b, k], W[k, m]], [row, *rest], [O if rest else H])


drive = total(W[k, m] * previous(H[b, t, m]), over=m) + X[b, t, k]
ELMAN = network(tanh(drive))
step = parameter("step", integer=True, ge=0)


def unchanged(name: str, spec: Spec, *, until: object = None, since_: object = None) -> Statement:
    """Outputs up to a step do not depend on inputs after it."""
    out = spec.heads[spec.outputs[0]]
    with_step = spec.replace(parameters=(*spec.parameters, step))
    change = Tensor("change")[b, t, k]
    later = where(t > step if since_ is None else since_)
    joint, names = beside(
        with_step, with_input(with_step, "X", X[b, t, k] + later * change, extra=[change])
    )
    mask = where(t <= step if until is None else until)
    other = Entry(Tensor(names[out.tensor.name]), out.places)
    return Statement(name, "equal", joint, mask * other, mask * out)


def apart(name: str, spec: Spec, axis: str = "batch", *, bijection: bool = False) -> Statement:
    """Entries of an axis do not mix."""
    out = spec.heads[spec.outputs[0]]
    moved = tuple(e.tensor.name for e in spec.inputs if any(p.axis.name == axis for p in e.indices))
    at = tuple(p.name for p in out.indices if p.axis.name == axis)
    return Statement(
        name, "equal", spec, out, out, (), (Relabel(axis, moved, at, bijection=bijection),)
    )


def reading(index: Index) -> Expr:
    """An input at another position."""
    return X[b, index, k]


ahead = total(where(eq(s, t + 1)) * reading(s), over=s)
behind = total(where(s <= t) * reading(s), over=s)
gated = logistic(drive) * previous(H[b, t, k]) + (1 - logistic(drive)) * tanh(X[b, t, k])
CAUSAL = [
    unchanged("a network is causal", ELMAN),
    unchanged("a gated network is causal", network(gated)),
    unchanged("a network that reads what came before", network(tanh(drive + behind))),
    unchanged(
        "a readout of a network", network(tanh(drive), rest=[let(O[b, t, k], exp(H[b, t, k]))])
    ),
    unchanged(
        "a network from the end, backwards",
        network(tanh(drive), reverse=True),
        until=t > step,
        since_=t <= step,
    ),
    unchanged(
        "a stacked network is causal",
        network(
            tanh(drive),
            rest=[recur(t, [let(O[b, t, k], tanh(previous(O[b, t, k]) + H[b, t, k]))], {O: 0})],
        ),
    ),
    apart("a network keeps entries apart", ELMAN),
    apart("a network from the end keeps entries apart", network(gated, reverse=True)),
    apart("a network permuted", ELMAN, bijection=True),
]
NOT_CAUSAL = [
    unchanged("a network from the end", network(tanh(drive), reverse=True)),
    unchanged("a network that reads ahead", network(tanh(drive + ahead))),
    unchanged("a network that reads all", network(tanh(drive + total(reading(s), over=s)))),
    unchanged("a network after a change before it", ELMAN, until=t > step, since_=t <= step),
    unchanged("a network at a change", ELMAN, since_=t >= step),
    unchanged("a network a step after", ELMAN, until=t <= step + 1),
    unchanged("one position after a change", ELMAN, until=eq(t, step + 1)),
    unchanged(
        "a network that begins with its last input",
        network(tanh(drive), begun=total(where(eq(s, time.size - 1)) * reading(s), over=s)),
    ),
    unchanged(
        "a readout of all steps",
        network(tanh(drive), rest=[let(O[b, t, k], total(H[b, s, k], over=s))]),
    ),
    apart("a network that sums over entries", network(tanh(drive + total(X[a, t, k], over=a)))),
    apart(
        "a network whose states are summed over entries",
        network(tanh(total(previous(H[a, t, k]), over=a) + X[b, t, k])),
    ),
    apart(
        "a network that begins with another entry's state",
        network(tanh(drive), begun=total(where(eq(a, 0)) * H0[a, k], over=a)),
    ),
    apart("a network that begins with its entry's number", network(tanh(drive), begun=b + 0)),
    apart(
        "a network of which one entry begins with 1",
        network(tanh(drive), begun=1 * where(eq(b, 0))),
    ),
    apart("a network that counts entries", network(tanh(drive + b))),
    apart("a network with its steps permuted", ELMAN, "time", bijection=True),
    apart(
        "a running sum with its steps permuted",
        network(previous(H[b, t, k]) + X[b, t, k]),
        "time",
        bijection=True,
    ),
]


# ---- names that a proof might capture


def named(wrong: int) -> Statement:
    """A spec that has tensors and indices of the names that the proof would like to give."""
    u_, l_ = time["u"], time["l"]
    inputs = [X[b, t], P[b, u_], Tensor("M_before")[b, l_], G[b, t]]
    inner = total(where(u_ <= t) * P[b, u_] * Tensor("M_before")[b, u_], over=u_)
    row = recur(t, [let(M[b, t], exp(G[b, t]) * previous(M[b, t]) + inner)], {M: 0})
    spec = Spec("named", inputs, [row], [M])
    past = total(where(l_ <= s) * P[b, l_] * Tensor("M_before")[b, l_], over=l_)
    found = [upto * exp(since_each) * past, upto * exp(since_each) * inner, strictly * past][wrong]
    return Statement(
        f"names that a proof gives: {wrong}", "equal", spec, M[b, t], total(found, over=s)
    )


def shadowed(*, wrong: bool) -> Statement:
    """A step that sums over its own index: the sum's is another."""
    read = total(X[b, t], over=t)
    row = recur(t, [let(M[b, t], previous(M[b, t]) + read)], {M: 0})
    spec = Spec("shadowed", [X[b, t]], [row], [M])
    due = total(upto * (X[b, s] if wrong else total(X[b, l], over=l)), over=s)
    return Statement(f"a step that sums over its index: {wrong}", "equal", spec, M[b, t], due)


def deltas(name: str, read: Expr, due: Expr, *, begun: object = 0) -> Statement:
    """Writes that are less what is read of the writes before them, and their sum."""
    state = Y[b, t, s]
    write = let(U[b, t], X[b, t] - total(read * previous(state), over=s))
    row = recur(t, [write, let(state, previous(state) + where(eq(s, t)) * U[b, t])], {Y: begun})
    out = let(O[b, t], total(where(s <= t) * U[b, s], over=s))
    return equals(name, spec_of([X[b, t], W[b], G[b, t]], [row, out]), due)


# A step reads the writes before it through the state Y, each at a place of its own.
WRITTEN = total(upto * X[b, s], over=s)
WRITES = [
    deltas("writes that never meet", where(eq(s, t)), WRITTEN),
    deltas("writes that meet later ones alone", where(s > t) * G[b, s], WRITTEN),
    deltas("writes that are not read", where(s < 0), WRITTEN),
]
NOT_WRITES = [
    deltas("writes that meet the last", where(eq(s, t - 1)), WRITTEN),
    deltas("writes that meet the first", where(eq(s, 0)), WRITTEN),
    deltas("writes that meet all", where(s <= t), WRITTEN),
    deltas("writes onto what is there", where(eq(s, t)), WRITTEN, begun=W[b]),
    deltas("writes that never meet, less", where(eq(s, t)), total(strictly * X[b, s], over=s)),
]

# True, and beyond the rules that stand now: a gain with a mask has no closed form with a start.
NOT_YET = [
    equals(
        "a gate that no start passes",
        summing(where(t > 0) * exp(G[b, t]), begun=H0[b]),
        kept(upto, since_each),
    ),
]
TRUE = [*CLOSED, *ONLINE, *CAUSAL, *WRITES, named(0), shadowed(wrong=False)]
FALSE = [
    *NOT_CLOSED,
    *NOT_ONLINE,
    *NOT_CAUSAL,
    *NOT_WRITES,
    named(1),
    named(2),
    shadowed(wrong=True),
]
