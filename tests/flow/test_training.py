"""The experiment: tasks are what they say, gradients are right, what can be learnt is learnt."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from attnverify.compare import within
from attnverify.errors import ParameterError
from attnverify.flow.tasks import PAIRS, SYMBOLS, TASKS, TOKEN, copying, recall
from attnverify.flow.training import NETWORKS, READ_OUT, Adam, Model, Setting, experiment, train
from attnverify.verdict import Status


def test_copying_asks_for_the_marked_symbol() -> None:
    batch = copying(5, 50, np.random.default_rng(0))
    assert batch.source.shape == (50, 5, TOKEN)
    assert (batch.source[:, 0, SYMBOLS:-1].argmax(axis=-1) == batch.answer).all()
    assert batch.source[:, :, -1].sum(axis=1).tolist() == [1.0] * 50
    assert set(batch.answer.tolist()) == set(range(SYMBOLS))


def test_recall_asks_for_the_value_of_its_key() -> None:
    batch = recall(4, 50, np.random.default_rng(0))
    assert batch.source.shape == (50, PAIRS + 3, TOKEN)
    for source, query, answer in zip(batch.source, batch.query[:, 0], batch.answer, strict=True):
        keys = source[:PAIRS, :SYMBOLS].argmax(axis=-1)
        assert len(set(keys.tolist())) == PAIRS
        (asked,) = np.flatnonzero(keys == query[:SYMBOLS].argmax())
        assert source[asked, SYMBOLS:-1].argmax() == answer


@pytest.mark.parametrize("network", NETWORKS)
def test_every_network_keeps_to_the_budget_and_its_gradient_is_right(network: str) -> None:
    setting = Setting(budget=300, seeds=2, batch=3)
    rngs = [np.random.default_rng(n) for n in range(2)]
    model = Model(NETWORKS[network], setting, copying(3, 1, rngs[0]))
    weights = model.initial(rngs)
    assert abs(model.parameters - 300) < 100
    assert sum(value[0].size for value in weights.values()) == model.parameters
    batches = [copying(3, 3, rng) for rng in rngs]
    value, slopes = model.loss_and_slopes(weights, batches)
    assert value.shape == (2,)
    for name in weights:
        at = (1, *(0,) * (weights[name].ndim - 1))
        found = []
        for step in (2.0**-10, 2.0**-11):
            moved = [
                model.loss_and_slopes(_moved(weights, name, at, sign * step), batches)[0]
                for sign in (1, -1)
            ]
            found.append((moved[0] - moved[1]) / (2 * step))
        # A seed's weights move its own loss alone.
        assert found[1][0] == 0
        bound = abs(found[0][1] - found[1][1]) + 2.0**-52 * 2**11 * 100
        verdict = within(name, slopes[name][at], found[1][1], bound)
        assert verdict.status is Status.HELD, f"{name}: {verdict.detail}"


def _moved(weights: Any, name: str, at: tuple[int, ...], step: float) -> dict[str, Any]:
    changed = {key: value.copy() for key, value in weights.items()}
    changed[name][at] += step
    return changed


def test_adam_takes_steps_of_its_rate_at_first() -> None:
    after = Adam().step({"w": np.array([1.0, 1.0])}, {"w": np.array([5.0, -0.1])})
    verdict = within("step", after["w"], np.array([0.99, 1.01]), 1e-8)
    assert verdict.status is Status.HELD, verdict.detail


def test_attention_learns_to_copy_and_training_is_reproducible() -> None:
    setting = Setting(distances=(4,), seeds=2, steps=80)
    one, two = (train("attention layer", "copying", 4, setting) for _ in range(2))
    assert (one.losses == two.losses).all()
    assert one.accuracy.min() > 0.9
    untrained = train("attention layer", "copying", 4, Setting(distances=(4,), seeds=2, steps=0))
    assert untrained.accuracy.max() < 0.5


def test_every_task_and_network_is_trained() -> None:
    setting = Setting(budget=200, distances=(1, 2), seeds=2, steps=1, batch=4)
    found = list(experiment(setting))
    assert len(found) == len(TASKS) * 2 * len(NETWORKS)
    assert all(one.losses.shape == (1, 2) for one in found)
    assert all(np.isfinite(one.losses).all() for one in found)


def test_what_there_is_not_is_refused() -> None:
    with pytest.raises(ParameterError, match="no such task"):
        list(experiment(tasks=("sorting",)))
    with pytest.raises(ParameterError, match="at least 1"):
        Setting(seeds=0)
    assert READ_OUT not in {entry for net in NETWORKS.values() for entry in net.source}
