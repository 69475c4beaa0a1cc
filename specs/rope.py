"""Rotary position embedding: q and k turn by position x frequency (Su et al. 2021, eqs. 15, 34).

`pairing="interleaved"` turns channels (2p, 2p + 1) together, `"half"` channels (p, p + d / 2).
Query i stands at i + offset: `offset` is an integer, "bottom_right" (n_k - n_q), or the input
`offset` per batch entry. Only the first `rotary_dim` channels turn where it is "some"; angles=
"tables" reads the inputs `cos` and `sin` at the position.
"""

from attnverify.notation import Choice, Spec, attention, family, parameter, rope

offset = parameter("offset", integer=True, ge=0, doc="the position of the first query")
base = parameter("base", gt=1, default=10000, doc="the base of the frequencies")
rotary_dim = parameter(
    "rotary_dim", integer=True, ge=2, multiple_of=2, doc="channels that turn, an even number"
)


def build(pairing: str, offset: object, rotary_dim: object, angles: str) -> Spec:
    """Attention with rotated queries and keys."""
    last = offset == "bottom_right"
    turn = rope(
        pairing,
        offset=0 if last else offset,
        align="bottom_right" if last else "top_left",
        rotary_dim=None if rotary_dim == "all" else rotary_dim,
        tables=angles == "tables",
    )
    return attention("rope", position=turn, parameters=[offset, rotary_dim])


spec = family(
    build,
    pairing=Choice("interleaved", "half"),
    offset=Choice(0, offset, "bottom_right", "input"),
    rotary_dim=Choice("all", rotary_dim),
    angles=Choice("computed", "tables"),
)
