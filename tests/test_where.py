"""Where entries fail: statements are exactly true, the shortest first, and none where none is."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

import attnverify as av
from attnverify.check.where import CELLS, error_map, where
from attnverify.compare import Due, Form, excess
from attnverify.verdict import Report, Status, Verdict

Array = npt.NDArray[Any]
Places = dict[str, Array]
OUTPUT = {"batch": 2, "heads": 3, "queries": 70, "value_dim": 4}
WEIGHTS = {"batch": 2, "heads": 3, "queries": 21, "keys": 25}

# Sizes, which entries fail, what is said first (beginning with nothing: no statement at all).
TOLD: list[tuple[dict[str, int], Callable[[Places], Any], str]] = [
    (OUTPUT, lambda at: at["heads"] >= 0, "every entry"),
    (OUTPUT, lambda at: at["heads"] == 1, "all of heads=1"),
    (OUTPUT, lambda at: at["batch"] == 0, "all of batch=0"),
    (OUTPUT, lambda at: at["queries"] >= 60, "all of queries >= 60"),
    (OUTPUT, lambda at: at["queries"] >= 20, "all of queries >= window (20)"),
    (OUTPUT, lambda at: at["queries"] > 20, "all of queries > window (20)"),
    (OUTPUT, lambda at: at["queries"] < 20, "all of queries < window (20)"),
    (OUTPUT, lambda at: at["queries"] <= 20, "all of queries <= window (20)"),
    (OUTPUT, lambda at: at["queries"] != 69, "all of queries other than the last (69)"),
    (OUTPUT, lambda at: at["queries"] != 0, "all of queries other than the first"),
    (OUTPUT, lambda at: at["queries"] != 7, "all of queries other than 7"),
    (OUTPUT, lambda at: at["queries"] % 2 == 1, "all of odd queries"),
    (OUTPUT, lambda at: at["queries"] % 16 == 3, "all of queries = 3 modulo 16"),
    (OUTPUT, lambda at: (at["queries"] > 4) & (at["queries"] < 9), "all of queries 5 to 8"),
    (OUTPUT, lambda at: np.isin(at["queries"], (3, 9, 11)), "all of queries 3, 9 and 11"),
    (
        OUTPUT,
        lambda at: at["queries"] >= 64,
        "all of queries in the last tile of 16 or 32 or 64 (queries >= 64)",
    ),
    (
        OUTPUT,
        lambda at: (at["heads"] == 2) & (at["queries"] >= 60),
        "all of heads=2, queries >= 60",
    ),
    (OUTPUT, lambda at: sum(at.values()) == 0, "one entry alone"),
    (
        OUTPUT,
        lambda at: (at["queries"] >= 60) & ((at["value_dim"] + at["queries"]) % 2 == 0),
        "every row of queries >= 60 somewhere, and no other row",
    ),
    (
        OUTPUT,
        lambda at: (at["heads"] == 1) & (at["queries"] ** 2 % 5 == 1),
        "only heads=1",
    ),
    (WEIGHTS, lambda at: at["queries"] == at["keys"], "exactly where queries = keys"),
    (WEIGHTS, lambda at: at["keys"] > at["queries"], "exactly where keys > queries"),
    (WEIGHTS, lambda at: at["queries"] >= at["keys"], "exactly where queries >= keys"),
    (WEIGHTS, lambda at: at["queries"] - at["keys"] == 2, "exactly where queries - keys = 2"),
    (
        WEIGHTS,
        lambda at: at["queries"] - at["keys"] > 6,
        "exactly where queries - keys > left (6)",
    ),
    (
        WEIGHTS,
        lambda at: abs(at["queries"] - at["keys"]) >= 9,
        "exactly where |queries - keys| >= 9",
    ),
    (
        WEIGHTS,
        lambda at: abs(at["queries"] - at["keys"]) < 9,
        "exactly where |queries - keys| < 9",
    ),
    (
        WEIGHTS,
        lambda at: (at["queries"] == at["keys"]) & (at["heads"] == 1),
        "exactly where queries = keys, heads=1",
    ),
    (WEIGHTS, lambda at: at["keys"] >= 16, "all of keys in the last tile of 16 (keys >= 16)"),
    (
        WEIGHTS,
        lambda at: (at["queries"] - at["keys"] > 6) & (at["queries"] * at["keys"] % 7 < 4),
        "only where queries - keys > left (6)",
    ),
    (OUTPUT, lambda at: at["heads"] < 0, ""),
    (OUTPUT, lambda at: (at["queries"] * 7 + at["heads"] * 3 + at["batch"]) % 11 == 0, ""),
    ({"queries": 1}, lambda at: at["queries"] == 0, ""),
]


def failing(sizes: dict[str, int], rule: Callable[[Places], Any]) -> Array:
    at = dict(zip(sizes, np.indices(tuple(sizes.values())), strict=True))
    return np.asarray(rule(at), bool)


@pytest.mark.parametrize(("sizes", "rule", "words"), TOLD, ids=[words for _, _, words in TOLD])
def test_a_set_of_failures_has_a_name(
    sizes: dict[str, int], rule: Callable[[Places], Any], words: str
) -> None:
    found = where(failing(sizes, rule), tuple(sizes), {"window": 20, "left": 6, "scale": 0.5})
    assert words in (found or ("",))
    assert list(found) == sorted(found, key=len)


@pytest.mark.parametrize("rule", [rule for _, rule, words in TOLD if words.startswith("all of")])
def test_one_entry_more_or_less_takes_an_exact_statement_back(
    rule: Callable[[Places], Any],
) -> None:
    sizes = {"batch": 2, "heads": 3, "queries": 70, "keys": 70, "value_dim": 4}
    wrong = failing(sizes, rule)
    exact = [told for told in where(wrong, tuple(sizes)) if told.startswith(("all", "exactly"))]
    assert exact
    for spot in (np.argwhere(wrong)[3], np.argwhere(~wrong)[-3]):
        other = wrong.copy()
        other[tuple(spot)] ^= True
        assert not set(exact) & set(where(other, tuple(sizes)))


def meant(told: str, at: Places) -> Array:
    """The entries that a statement about heads, queries and keys names, read from its words."""
    everywhere: Array = np.ones(np.broadcast_shapes(*(x.shape for x in at.values())), bool)
    for name, some in re.findall(r"(\w+) ((?:\d+, )*\d+ and \d+)", told):
        everywhere = everywhere & np.isin(at[name], [int(n) for n in re.findall(r"\d+", some)])
        told = told.replace(f"{name} {some}", "")
    for part in filter(None, told.split(", ")):
        everywhere = everywhere & _meant(part, at)
    return everywhere


def _meant(part: str, at: Places) -> Any:
    words = part.split()
    if "modulo" in words:
        return at[words[0]] % int(words[4]) == int(words[2])
    if words[0] in ("odd", "even"):
        return at[words[1]] % 2 == (words[0] == "odd")
    if "tile" in words:
        return _meant(part.partition("(")[2].rstrip(")"), at)
    if words[1:4] == ["other", "than", "the"]:
        name = words[0]
        return at[name] != (0 if words[4] == "first" else at[name].max())
    if words[1:3] == ["other", "than"]:
        return at[words[0]] != int(words[3])
    if len(words) == 4 and words[2] == "to":
        return (at[words[0]] >= int(words[1])) & (at[words[0]] <= int(words[3]))
    sentence = part.replace("|", "abs(", 1).replace("|", ")", 1).replace(" = ", " == ")
    sentence = sentence if " " in sentence else sentence.replace("=", "==")
    chained = sentence.split(" <= ")
    if len(chained) == 3:
        sentence = f"({chained[0]} <= {chained[1]}) & ({chained[1]} <= {chained[2]})"
    return eval(sentence, {"abs": abs}, dict(at))  # noqa: S307  a sentence of the function under test


@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 7), st.integers(1, 7)),
    bits=st.integers(0, 2**32 - 1),
    share=st.sampled_from([0.05, 0.5, 0.95]),
    forms=st.integers(0, 5),
)
def test_statements_are_true_of_any_failures(
    shape: tuple[int, int, int], bits: int, share: float, forms: int
) -> None:
    rng = np.random.default_rng(bits)
    axes = ("heads", "queries", "keys")
    at = dict(zip(axes, np.indices(shape), strict=True))
    wrong = rng.random(shape) < share
    bound = int(rng.integers(-2, 7))
    planted = [
        wrong, np.asarray(at["queries"] - at["keys"] >= bound), at["keys"] >= bound,
        wrong & (at["queries"] >= bound), np.asarray(wrong.any(0))[None] & (at["heads"] == bound),
        (at["queries"] == at["keys"] + bound) & wrong,
    ][forms]  # fmt: skip
    wrong = np.broadcast_to(planted, shape)
    for told in where(wrong, axes):
        if told in ("every entry", "one entry alone"):
            assert wrong.sum() == (wrong.size if told == "every entry" else 1)
        elif told.startswith("every row of "):
            places = told.removeprefix("every row of ").partition(" somewhere")[0]
            rows = meant(places, {name: where_at[..., :1] for name, where_at in at.items()})
            assert (np.asarray(wrong.any(-1, keepdims=True)) == rows).all()
        elif told.startswith("only "):
            named = meant(told.removeprefix("only ").removeprefix("where "), at)
            assert (named | ~wrong).all()
            assert not named.all()
        else:
            named = meant(told.removeprefix("all of ").removeprefix("exactly where "), at)
            assert (named == wrong).all(), told


# The map


def test_a_map_reduces_what_shares_a_cell_by_the_maximum() -> None:
    beyond = np.zeros((2, 3, 100, 5))
    beyond[1, 2, 7, 4], beyond[0, 0, 99, 0] = 3.14159, np.inf
    found = error_map(beyond, tuple(OUTPUT))
    assert found["axes"] == ["queries", "value_dim"]
    assert found["sizes"] == [100, 5]
    assert found["steps"] == [4, 1]
    table = np.array(found["cells"])
    assert table.shape == (25, 5)
    assert (table[1, 4], table[24, 0]) == (3.14, np.inf)
    assert np.count_nonzero(table) == 2


SHAPES = [(7,), (40,), (1, 1), (33, 65), (2, 3, 4), (128, 128)]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_map_is_small_and_loses_no_failure(shape: tuple[int, ...]) -> None:
    beyond = np.random.default_rng(1).random(shape)
    found = error_map(beyond, tuple("abc"[: len(shape)]))
    rows, columns = len(found["cells"]), len(found["cells"][0])
    assert max(rows, columns) <= CELLS
    assert np.max(found["cells"]) == pytest.approx(beyond.max(), rel=1e-2)


@pytest.mark.parametrize("shape", [(), (0, 3), (2, 0)])
def test_nothing_has_no_map(shape: tuple[int, ...]) -> None:
    assert error_map(np.zeros(shape), tuple("ab"[: len(shape)])) == {}


# The array of failures


def test_what_is_above_one_fails() -> None:
    due = Due(np.zeros(4), np.full(4, 0.5), ("queries",))
    assert excess(np.array([0.0, 3.0, -3.3, np.nan]), due) == pytest.approx([0, 1, 1.1, np.inf])
    assert excess(np.zeros(3), due) is None
    turned = Form((2, 1), "d n", "float64", lambda array: array.T)
    wide = Due(np.zeros((1, 2)), np.ones((1, 2)), ("queries", "value_dim"))
    assert excess(np.array([[0.0], [12.0]]), wide, turned) == pytest.approx(np.array([[0, 2]]))


# From end to end


@pytest.fixture
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def softmax(s: Array) -> Array:
    e = np.exp(s - s.max(-1, keepdims=True))
    return np.asarray(e / e.sum(-1, keepdims=True))


def attend(q: Array, k: Array, v: Array, keep: Any = True) -> Array:
    s = q @ k.swapaxes(-1, -2) / q.shape[-1] ** 0.5
    return np.asarray(softmax(np.where(keep, s, -np.inf).astype(q.dtype)) @ v)


def second_head_unscaled(q: Array, k: Array, v: Array) -> Array:
    out = attend(q, k, v)
    out[:, 1:2] = attend(q[:, 1:2] * q.dtype.type(q.shape[-1] ** 0.5), k[:, 1:2], v[:, 1:2])
    return out


def window_one_long(q: Array, k: Array, v: Array, window: int) -> Array:
    i, j = np.ogrid[: q.shape[-2], : k.shape[-2]]
    return attend(q, k, v, (j <= i) & (i - j <= window))


def first_tile_alone(q: Array, k: Array, v: Array) -> Array:
    out = attend(q, k, v)
    out[..., 32:, :] = 0
    return out


def weights_without_diagonal(q: Array, k: Array, v: Array) -> tuple[Array, Array]:
    s = q @ k.swapaxes(-1, -2) / q.shape[-1] ** 0.5
    a = softmax(s)
    i, j = np.ogrid[: q.shape[-2], : k.shape[-2]]
    return a @ v, np.where(i == j, 0, a).astype(q.dtype)


ENDS: list[tuple[Callable[..., Any], str, dict[str, Any], str]] = [
    (second_head_unscaled, "global", {}, ": all of heads=1"),
    (window_one_long, "sliding_window", {}, "all of queries >= window ("),
    (first_tile_alone, "global", {}, "all of queries in the last tile of 32 (queries >= 32)"),
    (weights_without_diagonal, "global", {"outputs": ("O", "A")}, "exactly where queries = keys"),
    (lambda q, k, v: 2 * attend(q, k, v), "global", {}, ": every entry"),
]


def refuted(report: Report) -> Verdict:
    return next(v for v in report.verdicts if v.status is Status.REFUTED)


@pytest.mark.usefixtures("_in_a_folder_of_its_own")
@pytest.mark.parametrize(("fn", "spec", "settings", "words"), ENDS)
def test_a_failure_says_where_and_carries_a_map(
    fn: Callable[..., Any], spec: str, settings: dict[str, Any], words: str
) -> None:
    report = av.check(fn, spec, explain=False, **settings)
    verdict = refuted(report)
    assert words in verdict.detail
    assert verdict.evidence["where"]
    found = verdict.evidence["map"]
    assert found["sizes"][0] > 30
    assert found["case"].startswith("batch=")
    assert np.max(found["cells"]) > 1
    again = Report.from_json(report.to_json())
    assert refuted(again).evidence == verdict.evidence


@pytest.mark.usefixtures("_in_a_folder_of_its_own")
def test_a_replay_says_where_too() -> None:
    verdict = refuted(av.check(first_tile_alone, "global", explain=False))
    assert verdict.witness is not None
    again = refuted(
        av.check(first_tile_alone, "global", replay=verdict.witness.path, explain=False)
    )
    assert again.evidence["map"]["case"] == verdict.witness.shape
    assert again.evidence["where"]


@pytest.mark.usefixtures("_in_a_folder_of_its_own")
def test_what_has_no_entries_has_no_map() -> None:
    report = av.check(lambda q, k, v: attend(q, k, v)[0], "global")
    assert "map" not in refuted(report).evidence
    assert "where" not in refuted(report).evidence
