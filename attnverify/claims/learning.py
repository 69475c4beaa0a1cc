"""What networks of equal size learn to remember, and how far back: a small experiment."""

from __future__ import annotations

from functools import cache

import numpy as np

from attnverify.claims.claim import Claim, met
from attnverify.flow.tasks import SYMBOLS, TASKS
from attnverify.flow.training import NETWORKS, SHORT, Trained, experiment
from attnverify.verdict import Verdict
from attnverify.verdict.figure import Curve, Figure, Scale

SETTING = SHORT
NOTE = (
    f"about {SETTING.budget} parameters each, {SETTING.seeds} seeds, {SETTING.steps} steps of Adam "
    f"on {SETTING.batch} sequences; median, and all seeds as a band; chance is 1/{SYMBOLS}"
)
GIVEN = f"{SETTING.steps} steps of training, {SETTING.seeds} seeds, one-symbol tasks"


@cache
def trained() -> tuple[Trained, ...]:
    """Every network on every task at every distance."""
    return tuple(experiment(SETTING))


def accuracy(network: str, task: str, distance: int) -> np.ndarray:
    """The accuracies of all seeds."""
    (found,) = (
        one for one in trained()
        if (one.network, one.task, one.distance) == (network, task, distance)
    )  # fmt: skip
    return found.accuracy


def pictured(task: str) -> Figure:
    """Accuracy by distance of every network on one task."""
    curves = []
    for network in NETWORKS:
        rows = np.array([accuracy(network, task, d) for d in SETTING.distances])
        spread = (np.median(rows, axis=1), rows.min(axis=1), rows.max(axis=1))
        curves.append(Curve.of(network, SETTING.distances, *spread))
    distance = Scale("distance, in positions")
    share = Scale("right answers, as a share")
    return Figure(
        f"{task}: what was learnt", distance, share, tuple(curves), NOTE, {"chance": 1 / SYMBOLS}
    )


def better(first: str, second: str, task: str, *, drawn: bool = True) -> Verdict:
    """Whether each seed of one network is right more often than every seed of another, from afar.

    The figure is left out where it is `drawn` elsewhere.
    """
    distance = SETTING.distances[-1]
    one, other = accuracy(first, task, distance), accuracy(second, task, distance)
    return met(
        one.min() > other.max(), "better",
        f"{first} is right in {_range(one)} of cases, {second} in {_range(other)}",
        cases=SETTING.seeds, scope=f"{task} at distance {distance}; {GIVEN}",
        evidence={"figure": pictured(task).plain()} if drawn else {},
    )  # fmt: skip


def _range(values: np.ndarray) -> str:
    return f"{values.min():.2f} to {values.max():.2f}"


def improves() -> Verdict:
    """Whether the attention layer beats every network without attention, from farthest away."""
    far = SETTING.distances[-1]
    others = ("elman", "lstm", "seq2seq")
    wrong = [
        f"{task}: {name} {_range(accuracy(name, task, far))}"
        for task in TASKS for name in others
        if accuracy("attention layer", task, far).min() <= accuracy(name, task, far).max()
    ]  # fmt: skip
    told = ", ".join(f"{_range(accuracy('attention layer', t, far))} in {t}" for t in TASKS)
    return met(
        not wrong, "improves",
        "; ".join(wrong) or f"the attention layer is right in {told}, more than each of "
        + ", ".join(others),
        cases=SETTING.seeds * len(TASKS), scope=f"distance {far}; {GIVEN}",
        evidence={"figure": pictured("associative recall").plain()},
    )  # fmt: skip


def near_is_easy() -> Verdict:
    """Whether attention is needed to copy from the nearest distance of the experiment."""
    near = SETTING.distances[0]
    plain = accuracy("elman", "copying", near)
    return met(
        accuracy("attention layer", "copying", near).min() > plain.max(), "near",
        f"at distance {near} a plain recurrent network is right in {_range(plain)}",
        cases=SETTING.seeds, scope=f"copying at distance {near}; {GIVEN}",
    )  # fmt: skip


def decoder_recalls() -> Verdict:
    """Whether some decoder with attention recalls as well as an attention layer, from afar."""
    task, far = "associative recall", SETTING.distances[-1]
    decoder, alone = (accuracy(n, task, far) for n in ("seq2seq_attention", "attention layer"))
    return met(
        decoder.max() >= alone.min(), "decoder recalls",
        f"the decoder is right in {_range(decoder)}, the attention layer in {_range(alone)}",
        cases=SETTING.seeds, scope=f"{task} at distance {far}; {GIVEN}",
    )  # fmt: skip


CLAIMS: tuple[Claim, ...] = (
    Claim("attention improves long sequences", improves, experiment=True),
    Claim(
        "attention improves a sequence-to-sequence network on long sequences",
        lambda: better("seq2seq_attention", "seq2seq", "copying"),
        experiment=True,
    ),
    Claim(
        "a decoder with attention recalls as far as an attention layer does",
        decoder_recalls,
        experiment=True,
    ),
    Claim(
        "attention improves short sequences, too",
        near_is_easy,
        experiment=True,
    ),
    Claim(
        "an LSTM copies from farther away than a plain recurrent network",
        lambda: better("lstm", "elman", "copying", drawn=False),
        experiment=True,
    ),
)
