"""Maps of errors and of weights are drawn as they are, and what is no map is not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from attnverify.report import render_html
from attnverify.report.picture import picture, weights_picture
from attnverify.verdict import Report, Section, Status, Verdict
from tests.pages import BAD, SPEC, checked

MAP = {
    "axes": ["queries", "value_dim"], "sizes": [64, 3], "steps": [2, 1], "case": "batch=1 heads=2",
    "cells": [[0.5, 0.5, 0.5]] * 31 + [[2.0, float("inf"), 1e4]],
}  # fmt: skip
DRAWN = replace(BAD, evidence={"where": ["all of heads=1"], "map": MAP})


def test_a_failure_shows_where_and_draws_its_map() -> None:
    found = checked(render_html(Report((Section("causal", (DRAWN,), "m:f"),))))
    for words in (
        "all of heads=1", "queries 0 to 63, 2 to a cell downwards", "value_dim 0 to 2 across",
        "on the case batch=1 heads=2", "within its bound", "up to 10 times its bound",
        "up to 1e+04 times its bound", "not finite, or wrong where no error is allowed",
    ):  # fmt: skip
        assert words in found.text, words
    assert any("3 of 96 cells fail" in label for label in found.values("aria-label"))
    drawn = picture(MAP)
    assert drawn is not None
    assert {(bar.x, bar.y, bar.width, bar.level) for bar in drawn.bars if bar.level} == {
        (0, 31, 1, 1), (1, 31, 1, 5), (2, 31, 1, 4),
    }  # fmt: skip
    assert sum(bar.width for bar in drawn.bars) == 96


def test_a_map_comes_back_from_json_as_it_was() -> None:
    report = Report((Section("causal", (DRAWN,), "m:f"),))
    assert render_html(Report.from_json(report.to_json())) == render_html(report)


NO_MAPS: list[Any] = [
    3, "text", [], {}, {"cells": 3}, {"cells": []}, {"cells": [[]]}, {"cells": [[1], [1, 2]]},
    {"cells": [["1"]]}, {"cells": [[None]]}, {"cells": [[float("nan")]]}, {"cells": [[True]]},
    {"cells": [[1.0] * 65]}, {"cells": [[1.0]] * 65}, {"cells": ["ab", "cd"]},
]  # fmt: skip


@pytest.mark.parametrize("found", NO_MAPS)
def test_what_is_no_map_is_not_drawn(found: Any) -> None:
    assert picture(found) is None
    row = Verdict("forward O", Status.REFUTED, evidence={"map": found, "where": found})
    assert 'class="picture"' not in render_html(Report((Section("causal", (row,), "m:f"),)))


WEIGHTS = {
    "name": "A", "axes": ["queries", "keys"], "sizes": [2, 3], "case": "window=2",
    "cells": [[1.0, None, None], [0.25, -0.75, None]],
}  # fmt: skip


def test_weights_are_drawn_with_what_is_not_seen_left_white() -> None:
    drawn = weights_picture(WEIGHTS)
    assert drawn is not None
    assert [(bar.x, bar.y, bar.width, bar.level) for bar in drawn.bars] == [
        (0, 0, 1, 4), (1, 0, 2, 0), (0, 1, 1, 2), (1, 1, 1, 4), (2, 1, 1, 0),
    ]  # fmt: skip
    assert drawn.legend == ((0, "not seen"), (2, "at most 0.25"), (4, "at most 1"))
    found = checked(render_html(Report((replace(SPEC, figures={"weights": WEIGHTS}),))))
    assert "Weights A of one head, queries 0 to 1 downwards, keys 0 to 2 across" in found.text
    assert any("3 of 6 keys are not seen" in label for label in found.values("aria-label"))
    assert weights_picture({"cells": [[0.0]]}) is not None


@pytest.mark.parametrize("found", [*NO_MAPS[:-1], {"cells": [[float("inf")]]}, {"cells": "ab"}])
def test_what_are_no_weights_is_not_drawn(found: Any) -> None:
    if found != {"cells": [[None]]}:
        assert weights_picture(found) is None


@pytest.mark.parametrize("about", [{}, {"axes": 3}, {"axes": ["<b>"], "sizes": ["x"], "case": [1]}])
def test_a_map_without_words_is_drawn_as_it_is(about: dict[str, Any]) -> None:
    row = Verdict("forward O", Status.REFUTED, evidence={"map": {"cells": [[9.0, 1.0]], **about}})
    found = checked(render_html(Report((Section("causal", (row,), "m:f"),))))
    assert "Largest error over its bound" in found.text
