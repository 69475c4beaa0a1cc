"""The flow of one spec: what is told, what would refute it, and the command line."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import attnverify as av
from attnverify.cli import app
from attnverify.errors import ParameterError
from attnverify.flow.initial import Start
from attnverify.flow.jacobian import Profile
from attnverify.flow.report import Setting, _beside, _zeros
from attnverify.report import render_html
from attnverify.verdict import Status

SMALL: dict[str, Any] = {"length": 8, "width": 4, "draws": 3}
SETTING = Setting(8, 4, 3, 1, 0, Start())


@pytest.mark.parametrize(
    "spec",
    ["global", "causal", "elman", "lstm", "gru", "linear_rnn", "seq2seq", "seq2seq_attention",
     "encoder_block", "multi_head", "object_queries", "linear", "top_k"],
)  # fmt: skip
def test_every_kind_of_spec_has_a_flow(spec: str) -> None:
    chosen: dict[str, dict[str, Any]] = {"top_k": {"k": 2}, "encoder_block": {"eps": 1e-5}}
    values = chosen.get(spec, {})
    report = av.flow(spec, **SMALL, **values)
    assert report.ok
    assert report.verdicts[0].status is Status.HELD
    assert report.verdicts[0].evidence["figure"]["curves"]


def test_two_specs_stand_side_by_side() -> None:
    report = av.flow("causal", against="elman", **SMALL)
    last = report.sections[-1].verdicts
    assert last[0].name == "more gradient arrives from afar through causal than through elman"
    assert last[0].status is Status.HELD
    page = render_html(report)
    assert page.count("<figure") == 3
    assert "causal beside elman" in page


def profiled(name: str, far: list[float]) -> Profile:
    spectral = np.array([[value, 1.0] for value in far])
    return Profile(name, np.array([1, 0]), spectral, spectral)


def test_draws_that_disagree_decide_nothing() -> None:
    specs = [av.load("causal"), av.load("elman")]
    both = [profiled("a", [1.0, 0.1, 1.0]), profiled("b", [0.5, 0.5, 0.5])]
    assert _beside(specs, both, SETTING).status is Status.UNDECIDED
    both[0] = profiled("a", [0.1, 0.2, 0.3])
    verdict = _beside(specs, both, SETTING)
    assert verdict.status is Status.HELD
    assert "through elman than through causal" in verdict.name


def test_a_gradient_without_a_path_is_refuted() -> None:
    spec = av.load("sliding_window", window=2)
    found = av.flow(spec, **SMALL).verdicts[0]
    assert found.status is Status.HELD
    from attnverify.flow.report import _profile, network

    layer = network(spec, 1)
    real = _profile(layer, SETTING)
    leaked = real.spectral.copy()
    leaked[1, 0] = 1e-300
    verdict = _zeros(layer, replace(real, spectral=leaked), SETTING)
    assert verdict.status is Status.REFUTED
    assert verdict.witness is not None
    assert verdict.witness.index == {"s": 0, "t": 7}


def test_settings_change_what_is_measured() -> None:
    def far(**more: Any) -> str:
        return av.flow("elman", activation="tanh", **{**SMALL, **more}).verdicts[0].detail

    assert len({far(), far(gain=0.5), far(scale=3.0), far(seed=1), far(layers=2)}) == 5


def test_what_is_open_or_runs_along_no_sequence_is_refused() -> None:
    with pytest.raises(ParameterError, match="left open"):
        av.flow("sliding_window", **SMALL)
    with pytest.raises(ParameterError, match="sequence"):
        av.flow("neighbourhood_2d", kernel=3, **SMALL)


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["flow", *words])
    assert "Traceback" not in done.output
    return done.exit_code, done.output


SIZES = ("--length", "6", "--width", "3", "--draws", "2")


def test_the_command_tells_each_verdict() -> None:
    status, output = run("sliding_window", "--set", "window=2", "--against", "gru", *SIZES)
    assert status == 0, output
    assert re.search(r"HELD +a gradient comes only from where a path leads", output)
    assert "sliding_window beside gru" in output
    assert run("elman", "--quiet", *SIZES)[1].split() == ["3", "HELD", "ok"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "neither"),
        (("causal", "--claims"), "both"),
        (("--claims", "--against", "elman"), "specs of their own"),
        (("no_such_spec",), "no spec of this name"),
        (("sliding_window", *SIZES), "left open"),
        (("causal", "--length", "0"), "greater than or equal to 1"),
    ],
)
def test_what_is_asked_wrongly_is_told_in_a_sentence(words: tuple[str, ...], told: str) -> None:
    status, output = run(*words)
    assert status == 2
    assert told in output
