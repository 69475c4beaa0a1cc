"""The weights that a page draws are those of the spec's own equations, and hidden where masked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import attnverify as av
from attnverify.library import members
from attnverify.pictured import weights_map

# Attentions whose weights are never an array of a query's places by a key's.
WITHOUT = {
    "convolution", "delta_rule", "elman", "gated_delta", "gated_linear", "gru", "linear",
    "linear_rnn", "lstm", "online_softmax", "retention", "ring", "rwkv4", "seq2seq",
    "state_space_dual",
}  # fmt: skip
MASKS = {
    "causal": lambda i, j: j <= i,
    "sliding_window": lambda i, j: (j <= i) & (j > i - 3),
    "global": lambda i, j: i + j >= 0,
    "local": lambda i, j: abs(i - j) <= 2,
}


def drawn(name: str) -> dict[str, Any]:
    found = weights_map(av.load(name))
    assert found is not None
    return found


@pytest.mark.parametrize("name", MASKS)
def test_what_a_row_does_not_see_is_left_out(name: str) -> None:
    i, j = np.ogrid[:12, :12]
    cells = np.array(drawn(name)["cells"], object)
    assert ((cells != None) == MASKS[name](i, j)).all()  # noqa: E711  each cell is compared


@pytest.mark.parametrize("name", ["causal", "alibi", "rope", "grouped_query", "sparsemax"])
def test_rows_sum_to_one_up_to_their_digits(name: str) -> None:
    cells = np.array(drawn(name)["cells"], object)
    cells[cells == None] = 0.0  # noqa: E711  each cell is compared
    assert np.abs(cells.astype(float).sum(-1) - 1).max() < 1e-3


def test_every_spec_with_weights_has_a_map_that_a_page_can_draw() -> None:
    without = set()
    for name in av.catalog():
        found = [weights_map(spec) for _, spec in members(name, {})]
        without |= {name} if None in found else set()
        for one in found:
            assert one is None or 1 <= len(one["cells"]) <= 32 >= len(one["cells"][0]) >= 1
    assert without == WITHOUT


def test_a_map_is_the_same_each_time_and_says_its_parameters() -> None:
    assert drawn("sliding_window") == drawn("sliding_window")
    assert drawn("sliding_window")["case"] == "window=3"
    assert drawn("sliding_window")["axes"] == ["queries", "keys"]
