"""The edges between specs: linear and recurrent forms, low rank, execution forms, applications."""

from __future__ import annotations

from collections.abc import Mapping

from attnverify.algebra.predicates import Compare
from attnverify.algebra.primitives import call
from attnverify.algebra.terms import (
    Axis,
    Entry,
    Expr,
    Parameter,
    as_expr,
    indicator,
    mul,
    position,
    total,
)
from attnverify.lattice.edge import Edge, Scene, Side, edge
from attnverify.lattice.values import as_long_as, constant, flattened, identity, read
from attnverify.library import load
from attnverify.spec import Spec

ZERO, UNIT = constant(0), constant(1)
# Causal linear attention with the identity for a feature map and no normaliser.
PLAIN_LINEAR = {
    "F": read("Q", 0, 1, 2, 3),
    "G": read("K", 0, 1, 2, 3),
    "Z": UNIT,
}


def _basis(head: Entry) -> Expr:
    """Keys that are the first of an orthonormal basis: key t has 1 in channel t."""
    _, _, time, channel = head.indices
    return indicator(Compare("==", as_expr(time), as_expr(channel)))


def _fits(at: Scene) -> tuple[Compare, ...]:
    where = at.size("time") <= at.size("key_dim")
    return (where,) if isinstance(where, Compare) else ()


def _log_gamma(_: Entry) -> Expr:
    return call("log", as_expr(load("retention", decay="given").parameters[0]))


def _gamma() -> tuple[Parameter, ...]:
    return load("retention", decay="given").parameters


ORTHONORMAL = "with orthonormal keys and writing strength 1, unnormalised, phi the identity"
LINEAR = (
    edge(
        "performer",
        Side(
            "linear",
            axes={"key_dim": "features"},
            values={"F": read("F", 0, 1, 2, 3), "G": read("G", 0, 1, 2, 3)},
        ),
        "with random features for a feature map",
    ),
    edge(
        Side("retention", {"decay": "given", "gamma": 1}),
        Side("linear", {"causal": True}, values=PLAIN_LINEAR),
        "causal at gamma 1, unnormalised, phi the identity",
    ),
    edge(
        Side("gated_linear", values={"g": _log_gamma}, parameters=_gamma),
        Side("retention", {"decay": "given"}),
        "at a constant gate",
    ),
    edge(
        Side("delta_rule", values={"K": _basis, "beta": UNIT}),
        Side("linear", {"causal": True}, values={**PLAIN_LINEAR, "G": _basis}),
        f"causal {ORTHONORMAL}",
        given=_fits,
        sizes={"key_dim": lambda n: max(n["key_dim"], n["time"])},
    ),
    edge(
        Side("gated_delta", values={"K": _basis, "beta": UNIT, "g": ZERO}),
        Side("linear", {"causal": True}, values={**PLAIN_LINEAR, "G": _basis}),
        f"causal {ORTHONORMAL}, without decay",
        given=_fits,
        sizes={"key_dim": lambda n: max(n["key_dim"], n["time"])},
    ),
    edge(
        "state_space_dual",
        Side("gated_linear", values={"g": read("g", 0, 1, 2)}),
        "with one gate for all channels",
    ),
)

LOW_RANK = (
    edge(
        Side(
            "linformer",
            axes={"projected": "keys"},
            values={"E": identity(1, 2), "F": identity(1, 2)},
        ),
        "global",
        "at identity projections",
    ),
    edge(
        "perceiver",
        Side("cross", values={"Q": read("Q", 1, 2, 3)}),
        "of projected latents and inputs, before the output projection",
        output="U",
    ),
    edge(
        Side("induced_set", {"form": "attention"}),
        Side(
            "cross",
            axes={"queries": "points", "keys": "time"},
            values={
                "Q": read("Q_1", 1, 2, 3),
                "K": read("K_1", 0, 1, 2, 3),
                "V": read("V_1", 0, 1, 2, 3),
            },
        ),
        "from inducing points to the set",
        output="U_1",
    ),
    edge(
        Side("induced_set", {"form": "attention"}),
        Side(
            "cross",
            axes={"queries": "time", "keys": "points"},
            values={f"{letter}": read(f"{letter}_2", 0, 1, 2, 3) for letter in "QKV"},
        ),
        "from the set to inducing points",
        output="U_2",
    ),
)

TILE, OFFSET, PART = Axis("tile")["t"], Axis("offset")["o"], Axis("part")["s"]
RANK, PLACE = Axis("rank")["w"], Axis("place")["u"]
BLOCK, SLOT = Axis("block")["m"], Axis("slot")["s"]
TILED, TILES = as_long_as("keys", "tile", "offset")
PARTED, PARTS = as_long_as("keys", "part", "offset")
KEYS_OF_TILES = {letter: flattened(letter, 2, TILE, OFFSET) for letter in "KV"}


def _ringed(joint: Spec, names: Mapping[str, str]) -> tuple[Expr, Expr]:
    """The output of each rank's places, and the whole output at their positions."""
    out, whole = joint.heads["O"], joint.heads[names["O"]]
    b, h, rank, place, c = out.indices
    i = whole.indices[2]
    same = Compare("==", as_expr(i), position((rank, place)))
    read_there = Entry(whole.tensor, (b, h, i, c))
    return out, total(mul(indicator(same), read_there), i)


def _ring_lengths(at: Scene) -> tuple[Compare, ...]:
    return (
        Compare("==", at.size("queries"), mul(at.size("rank"), at.size("place"))),
        Compare("==", at.size("keys"), mul(at.size("rank"), at.size("offset"))),
    )


EXECUTION = (
    edge(
        "online_softmax",
        Side("global", values=KEYS_OF_TILES),
        "in tiles of keys",
        given=TILED,
        sizes=TILES,
    ),
    edge(
        Side("online_softmax", {"ordered": True}),
        Side("causal", values=KEYS_OF_TILES),
        "in tiles of keys",
        given=TILED,
        sizes=TILES,
    ),
    edge(
        "split_kv",
        Side("global", values={letter: flattened(letter, 2, PART, OFFSET) for letter in "KV"}),
        "in parts of keys",
        given=PARTED,
        sizes=PARTS,
    ),
    edge(
        "ring",
        Side(
            "global",
            values={
                "Q": flattened("Q", 2, RANK, PLACE),
                "K": flattened("K", 2, RANK, OFFSET),
                "V": flattened("V", 2, RANK, OFFSET),
            },
        ),
        "on ranks that pass keys around",
        given=_ring_lengths,
        sizes={
            "queries": lambda n: n["rank"] * n["place"],
            "keys": lambda n: n["rank"] * n["offset"],
        },
        sides=_ringed,
    ),
    edge(
        "kv_cache",
        Side(
            "causal",
            {"align": "bottom_right"},
            values={"K": read("K_all", 0, 1, 2, 3), "V": read("V_all", 0, 1, 2, 3)},
        ),
        "over past and new keys, aligned bottom-right",
    ),
    edge(
        Side("paged", values={"lengths": lambda _: mul(Axis("block").size, Axis("slot").size)}),
        Side(
            "kv_cache",
            values={
                "K_past": flattened("K_seq", 2, BLOCK, SLOT),
                "V_past": flattened("V_seq", 2, BLOCK, SLOT),
                "K": flattened("K_seq", 2, BLOCK, SLOT, shift=Axis("past").size),
                "V": flattened("V_seq", 2, BLOCK, SLOT, shift=Axis("past").size),
            },
        ),
        "with keys read through a table of full blocks",
        given=lambda at: (
            Compare("==", at.size("past") + at.size("new"), mul(at.size("block"), at.size("slot"))),
        ),
        sizes={
            "slot": lambda n: max(n["slot"], 2),
            "new": lambda _: 1,
            "past": lambda n: n["block"] * n["slot"] - 1,
        },
    ),
)

APPLICATIONS = (
    edge(
        "visual_attention",
        Side("additive", axes={"hidden": "value_dim"}, values={"K": read("V", 0, 1, 2)}),
        "of keys that are the values",
    ),
    edge(
        "object_queries",
        "cross",
        "of projected queries and image features, before the output projection",
        output="U",
    ),
)
FORMS: tuple[Edge, ...] = (*LINEAR, *LOW_RANK, *EXECUTION, *APPLICATIONS)
