"""The edges between specs: masks, heads, positions, scores and normalisers."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from attnverify.algebra.predicates import Compare
from attnverify.algebra.primitives import call
from attnverify.algebra.terms import (
    Axis,
    Entry,
    Expr,
    Tensor,
    add,
    as_expr,
    mul,
    negative,
    power,
)
from attnverify.lattice.edge import Edge, Side, edge
from attnverify.lattice.values import (
    as_long_as,
    at_repeat,
    constant,
    exponential_of,
    flattened,
    identity,
    only_one,
    read,
    size_of,
    summand,
    turned_by_nothing,
)
from attnverify.spec import Spec

ZERO = constant(0)
LEFT, RIGHT = {"align": "top_left"}, {"align": "bottom_right"}
ONE_HEAD, HEADS = only_one("heads")
ONE_REPEAT, REPEATS = only_one("repeat")
ONE_GROUP, GROUPS = only_one("group")
PAIR, SIDE = Axis("pair")["p"], Axis("side", fixed=2)["s"]
CHANNELS, PAIRS = as_long_as("key_dim", "pair", "side")
SELF = {"queries": "time", "keys": "time"}


MASKS = (
    edge(
        "causal",
        "global",
        "where a row sees every key",
        given=lambda at: (at.index("queries") >= at.size("keys") - 1,),
    ),
    edge(
        Side("causal", RIGHT),
        "global",
        "where a row sees every key, aligned bottom-right",
        given=lambda at: (at.index("queries") >= at.size("queries") - 1,),
    ),
    edge(
        "local",
        "global",
        "where the window covers all keys",
        given=lambda at: (
            at.parameter("left") >= at.size("queries") - 1,
            at.parameter("right") >= at.size("keys") - 1,
        ),
        parameters={"left": lambda n: n["queries"] - 1, "right": lambda n: n["keys"] - 1},
    ),
    edge(
        Side("sliding_window", LEFT),
        Side("causal", LEFT),
        "at window >= n_q",
        given=lambda at: (at.parameter("window") >= at.size("queries"),),
        parameters={"window": lambda n: n["queries"]},
    ),
    edge(
        Side("sliding_window", RIGHT),
        Side("causal", RIGHT),
        "at window >= n_k, aligned bottom-right",
        given=lambda at: (at.parameter("window") >= at.size("keys"),),
        parameters={"window": lambda n: n["keys"]},
    ),
    edge(
        Side("dilated", {"causal": False, "step": 1}),
        "local",
        "at step 1, left = right = window - 1",
        given=lambda at: tuple(
            Compare("==", at.parameter(side), at.parameter("window") - 1)
            for side in ("left", "right")
        ),
        parameters={
            "window": lambda n: 1 + n["keys"] // 2,
            "left": lambda n: n["keys"] // 2,
            "right": lambda n: n["keys"] // 2,
        },
    ),
    edge(
        "blocked",
        "global",
        "at one block",
        given=lambda at: tuple(
            at.parameter("block") >= at.size(axis) for axis in ("queries", "keys")
        ),
        parameters={"block": lambda n: max(n["queries"], n["keys"])},
    ),
    edge(
        Side("window_global", {"projections": "shared", "globals": 0}),
        Side("local", axes=SELF),
        "without global tokens, projections shared, left = right = window / 2",
        given=lambda at: tuple(
            Compare("==", mul(2, at.parameter(side)), at.parameter("window"))
            for side in ("left", "right")
        ),
        parameters={
            "window": lambda n: 2 * max(1, n["time"] // 2),
            "left": lambda n: max(1, n["time"] // 2),
            "right": lambda n: max(1, n["time"] // 2),
        },
    ),
    edge(Side("prefix", {"prefix": 0}), "causal", "at prefix 0"),
    edge(
        "prefix",
        "global",
        "at prefix >= n_k",
        given=lambda at: (at.parameter("prefix") >= at.size("keys"),),
        parameters={"prefix": lambda n: n["keys"]},
    ),
    edge(
        Side("documents", values={"segments": ZERO}),
        Side("causal", axes=SELF),
        "with one segment",
    ),
    edge(Side("padding", values={"lengths": size_of("keys")}), "global", "at full length"),
    edge(Side("biased", values={"bias": ZERO}), "global", "at bias 0"),
    edge(
        "top_k",
        "global",
        "at k >= n_k",
        given=lambda at: (at.parameter("k") >= at.size("keys"),),
        parameters={"k": lambda n: n["keys"]},
    ),
    edge(Side("shifted_window_2d", {"shift": 0}), "blocked_2d", "without shift"),
)

SAME_CHANNELS = {"key_dim": "model", "value_dim": "model"}
UNIT_WEIGHTS = {name: identity(0, 2) for name in ("W_Q", "W_K", "W_V")}
HEAD_EDGES = (
    edge(
        Side("multi_head", axes=SAME_CHANNELS, values={**UNIT_WEIGHTS, "W_O": identity(1, 2)}),
        Side(
            "global",
            axes=SAME_CHANNELS,
            values={letter: read(f"X_{letter}", 0, 2, 3) for letter in "QKV"},
        ),
        "at one head with identity weights",
        given=ONE_HEAD,
        sizes=HEADS,
    ),
    edge(
        "grouped_query",
        Side("global", axes={"heads": "group"}, values={"Q": at_repeat("Q", outer=True)}),
        "over heads at repeat 1",
        given=ONE_REPEAT,
        sizes=REPEATS,
    ),
    edge(
        Side("grouped_query", {"head_map": "tile"}),
        Side("global", axes={"heads": "group"}, values={"Q": at_repeat("Q", outer=False)}),
        "over heads at repeat 1, tiled",
        given=ONE_REPEAT,
        sizes=REPEATS,
    ),
    edge(
        "multi_query",
        Side(
            "grouped_query",
            axes={"repeat": "heads"},
            values={"Q": read("Q", 0, 2, 3, 4), "K": read("K", 0, 2, 3), "V": read("V", 0, 2, 3)},
        ),
        "with one group",
        given=ONE_GROUP,
        sizes=GROUPS,
    ),
    edge(
        Side(
            "talking_heads",
            {"scale": "key_dim"},
            axes={"key_heads": "heads", "value_heads": "heads"},
            values={"W_L": identity(0, 1), "W_W": identity(0, 1)},
        ),
        "multi_head",
        "at identity mixing",
    ),
    edge(
        Side("differential", {"norm": "none", "lam": 0}),
        Side("global", values={"Q": read("Q_1", 0, 1, 2, 3), "K": read("K_1", 0, 1, 2, 3)}),
        "at lam 0, without norm and factor",
    ),
)


def _cap_sides(joint: Spec, names: Mapping[str, str]) -> tuple[Expr, Expr]:
    """|c tanh(s / c) - s| and |s|^3 / (3 c^2)."""
    capped = joint.heads["S"]
    plain = Entry(Tensor(names["S"]), capped.places)
    cap = as_expr(next(p for p in joint.parameters if p.name == "cap"))
    gap = call("absolute", add(capped, negative(plain)))
    return gap, mul(power(call("absolute", plain), 3), power(mul(3, power(cap, 2)), -1))


def _unscaled(head: Entry) -> Expr:
    """Queries times sqrt(key_dim), which a scale of 1/sqrt(key_dim) undoes."""
    return mul(head, power(Axis("key_dim").size, Fraction(1, 2)))


SCORES = (
    edge(
        Side("rope", nodes=turned_by_nothing),
        Side("global", values={letter: flattened(letter, 3, PAIR, SIDE) for letter in "QK"}),
        "at angle 0",
        given=CHANNELS,
        sizes=PAIRS,
    ),
    edge(Side("alibi", {"slopes": "input"}, values={"slopes": ZERO}), "causal", "at slope 0"),
    edge(
        Side("alibi", {"slopes": "input", "ordered": False}, values={"slopes": ZERO}),
        "global",
        "at slope 0, two-sided",
    ),
    edge(
        "t5_bias",
        Side("biased", values={"Q": _unscaled, "bias": summand("t5_bias", "S", "table")}),
        "at scale 1 with the bias of a table",
    ),
    edge(
        Side("shaw", values={"R_K": ZERO, "R_V": ZERO}), "global", "at relative keys and values 0"
    ),
    edge(
        "softcap",
        "global",
        "within |s|^3 / (3 c^2) of its scores",
        claim="bound",
        sides=_cap_sides,
    ),
    edge("softmax_plus_one", Side("sinks", values={"sinks": ZERO}), "at logit 0"),
    edge(Side("sinks", nodes=exponential_of("sinks")), "global", "where a sink weighs e^z = 0"),
)
CHOICES: tuple[Edge, ...] = (*MASKS, *HEAD_EDGES, *SCORES)
