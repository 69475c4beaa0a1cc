"""From what was found to the spec that says it: a member of the catalogue, or one composed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from attnverify import notation
from attnverify.identify.masks import FEWER, empty_row
from attnverify.library import load
from attnverify.spec import Spec

Says = Mapping[str, Any]
NAME = "identified"


@dataclass(frozen=True)
class Stage:
    """One stage of a composition: a keyword of `attention`, its value, and the value as text."""

    keyword: str
    value: Any
    text: str


def _made(keyword: str, name: str, **told: Any) -> Stage:
    said = ", ".join(f"{key}={value!r}" for key, value in told.items())
    return Stage(keyword, getattr(notation, name)(**told), f"{name}({said})")


def stages(says: Says) -> Iterator[Stage]:
    """The stages in which a function differs from global attention."""
    if "head_map" in says:
        yield _made("heads", "grouped", head_map=says["head_map"])
    yield from _masks(says)
    if "rope" in says:
        yield _made("position", "rope", **_turned(says))
    if says.get("bias") == "alibi":
        two = says.get("highest") is None
        align = says.get("align", "top_left")
        yield _made("bias", "alibi_bias", two_sided=two, align=align)
    if "scale" in says:
        value = 1.0 if says["scale"] == "1" else says["scale"]
        yield Stage("scale", value, f"{value!r}")
    if "cap" in says:
        yield Stage("cap", says["cap"], f"{says['cap']!r}")
    if "normaliser" in says:
        yield _made("normaliser", f"{says['normaliser']}_weights")
    elif says.get("empty_rows", "zeros") != "zeros" and empty_row(says, *FEWER) is not None:
        yield Stage("empty_rows", says["empty_rows"], repr(says["empty_rows"]))


def _turned(says: Says) -> dict[str, Any]:
    """How channels turn, where it is not as usual."""
    told = {"base": "base", "rotary_dim": "rotary_dim", "rope_align": "align"}
    told |= {"rope_offset": "offset"}
    return {"pairing": says["rope"]} | {told[key]: says[key] for key in told if key in says}


def _masks(says: Says) -> Iterator[Stage]:
    lowest, highest = says.get("lowest"), says.get("highest")
    align = says.get("align", "top_left")
    if lowest is None and highest is None:
        return
    if highest == 0:
        causal = _made("mask", "causal", align=align)
        if lowest is None:
            yield causal
            return
        window = _made("mask", "within", left=-lowest, align=align)
        yield Stage("mask", causal.value & window.value, f"{causal.text} & {window.text}")
    elif lowest is None:
        yield _made("mask", "causal", align=align, offset=highest)
    else:
        yield _made("mask", "within", left=-lowest, right=highest, align=align)


@dataclass(frozen=True)
class Member:
    """A spec, and the words that make it again: lines of Python, and the argument of `check`."""

    spec: Spec
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """The lines as one program."""
        return "\n".join(self.lines)


def member(says: Says) -> Member | None:
    """The spec that all findings say together; None where one of them is no stage that we have."""
    if says.get("scale") == "1/d" or "sink" in says or says.get("normaliser") == "sigmoid":
        return None
    found = list(stages(says))
    named = _catalogued(says, [stage.keyword for stage in found])
    if named is not None:
        name, told = named
        said = "".join(f", {key}={value!r}" for key, value in told.items())
        return Member(load(name, **told), (f'spec = av.load("{name}"{said})',))
    spec = notation.attention(NAME, **{stage.keyword: stage.value for stage in found})
    calls = re.findall(r"(\w+)\(", " ".join(stage.text for stage in found))
    imported = sorted({"attention", *calls})
    said = "".join(f", {stage.keyword}={stage.text}" for stage in found)
    return Member(
        spec,
        (
            f"from attnverify.notation import {', '.join(imported)}",
            f'spec = attention("{NAME}"{said})',
        ),
    )


def _catalogued(says: Says, keywords: list[str]) -> tuple[str, dict[str, Any]] | None:
    """The catalogue's own name for what differs in one stage alone."""
    align = {"align": says["align"]} if says.get("align", "top_left") != "top_left" else {}
    match keywords:
        case []:
            return "global", {}
        case ["heads"]:
            return "grouped_query", {"head_map": says["head_map"]}
        case ["mask"] if says.get("highest") == 0 and says.get("lowest") is None:
            return "causal", align
        case ["mask", "empty_rows"] if says["highest"] == 0 and says["lowest"] is None:
            return "causal", {**align, "empty_rows": says["empty_rows"]}
        case ["mask"] if says.get("highest") == 0:
            return "sliding_window", {"window": 1 - says["lowest"], **align}
        case ["position"]:
            return _rope(says)
        case ["cap"]:
            return "softcap", {"cap": says["cap"]}
        case ["normaliser"]:
            return "softmax_plus_one", {}
        case ["bias"]:
            return "alibi", {"ordered": False}
        case ["mask", "bias"] if says.get("highest") == 0 and says.get("lowest") is None:
            return "alibi", {"ordered": True, **align}
        case ["scale"] if says["scale"] == "1":
            return "luong_dot", {}
    return None


def _rope(says: Says) -> tuple[str, dict[str, Any]] | None:
    """The catalogue's rotations, which have the usual base and turn every channel."""
    told = _turned(says)
    if told.keys() - {"pairing", "align"}:
        return None
    last = {"offset": "bottom_right"} if "align" in told else {}
    return "rope", {"pairing": told["pairing"], **last}
