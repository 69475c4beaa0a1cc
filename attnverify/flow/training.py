"""A small training experiment: who learns to remember how far, with equally many parameters.

Every network is a spec compiled for autograd; all seeds of one are trained in one run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnverify.compile.oracle import stack
from attnverify.errors import ParameterError
from attnverify.flow.initial import Start, drawn
from attnverify.flow.tasks import SYMBOLS, TASKS, TOKEN, Batch
from attnverify.inputs.entries import shape_of
from attnverify.library import load
from attnverify.spec import Spec

Array = NDArray[Any]
READ_OUT = "read_out"
# Kingma and Ba 2015, algorithm 1, with a step ten times as large as theirs: runs are short.
RATE, FIRST, SECOND, TINY = 1e-2, 0.9, 0.999, 1e-8


@dataclass(frozen=True)
class Network:
    """A spec as a network: which member, where the tokens go in, and how it starts.

    `source` is the inputs that the tokens enter by and `query` the one for the last token; without
    it, the last token ends the source. `reads` is how often the query is read: the scores of a
    decoder are of its state before, which knows the query from its second step on.
    """

    spec: str
    source: tuple[str, ...]
    query: str = ""
    reads: int = 1
    choices: Mapping[str, Any] = field(default_factory=dict)
    start: Start = field(default_factory=Start)
    widths: tuple[str, ...] = ("hidden",)

    def loaded(self) -> Spec:
        """The spec."""
        return load(self.spec, **self.choices)

    def sizes(self, spec: Spec, batch: int, length: int, width: int) -> dict[str, int]:
        """Sizes of all axes; tokens are TOKEN wide, and one of them asks."""
        tokens = {"model": TOKEN, "embedding": TOKEN, "value_dim": SYMBOLS}
        steps = {"time": self.reads if self.query else length + 1, "keys": length, "queries": 1}
        widths = dict.fromkeys(self.widths, width)
        found = {"batch": batch, "heads": 1, **tokens, **steps, **widths}
        return {axis.name: found[axis.name] for axis in spec.axes}


NETWORKS: Mapping[str, Network] = {
    "elman": Network("elman", ("X",), choices={"activation": "tanh"}),
    # A forget gate that begins open is what practice uses (Jozefowicz et al. 2015, section 2.2).
    "lstm": Network("lstm", ("X",), start=Start(values={"b_f": 1.0})),
    "seq2seq": Network("seq2seq", ("X",), "Y", reads=2),
    "seq2seq_attention": Network(
        "seq2seq_attention", ("X",), "Y", reads=2, widths=("hidden", "align")
    ),
    "attention layer": Network(
        "multi_head", ("X_K", "X_V"), "X_Q", widths=("key_dim", "value_dim")
    ),
}


@dataclass(frozen=True)
class Setting:
    """How long and how often: `budget` parameters each, distances, seeds, steps of Adam.

    >>> Setting(seeds=2).seeds
    2
    """

    budget: int = 1200
    distances: tuple[int, ...] = (2, 8, 24)
    seeds: int = 5
    steps: int = 400
    batch: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.budget, self.seeds, self.batch, *self.distances) < 1 or self.steps < 0:
            raise ParameterError(
                "an experiment has a budget, distances, seeds and a batch of at least 1",
                found=str(self),
            )


# What the ledger of claims has time for.
SHORT = Setting(distances=(2, 6, 16), seeds=3, steps=120)


@dataclass(frozen=True)
class Trained:
    """What came of one network on one task at one distance: accuracy by seed, and the loss.

    `accuracy` is the share of right answers of each seed on cases it has not seen; `losses` is
    (steps, seeds), in nats.
    """

    network: str
    task: str
    distance: int
    parameters: int
    accuracy: Array
    losses: Array


def experiment(
    setting: Setting = SHORT,
    tasks: tuple[str, ...] = tuple(TASKS),
    networks: tuple[str, ...] = tuple(NETWORKS),
) -> Iterator[Trained]:
    """Train every network on every task at every distance, and measure what it learnt.

    Raises ParameterError for a task or a network that there is not.

    >>> (one,) = experiment(Setting(distances=(2,), steps=2, seeds=2), ("copying",), ("elman",))
    >>> one.accuracy.shape, one.parameters
    ((2,), 1200)
    """
    for names, known in ((tasks, TASKS), (networks, NETWORKS)):
        for name in names:
            if name not in known:
                raise ParameterError("no such task or network", found=name, due=", ".join(known))
    for task in tasks:
        for distance in setting.distances:
            for network in networks:
                yield train(network, task, distance, setting)


def train(network: str, task: str, distance: int, setting: Setting) -> Trained:
    """One network on one task at one distance, all seeds at once."""
    model = Model(NETWORKS[network], setting, TASKS[task](distance, 1, np.random.default_rng(0)))
    rngs = [np.random.default_rng([setting.seed, n, distance]) for n in range(setting.seeds)]
    weights = model.initial(rngs)

    def batches(size: int) -> list[Batch]:
        return [TASKS[task](distance, size, rng) for rng in rngs]

    losses = []
    descent = Adam()
    for _ in range(setting.steps):
        value, slopes = model.loss_and_slopes(weights, batches(setting.batch))
        losses.append(value)
        weights = descent.step(weights, slopes)
    # As many cases as keep one standard error of an accuracy below two percent.
    tests = [batches(setting.batch) for _ in range(-(-640 // setting.batch))]
    right = np.mean([model.right(weights, test) for test in tests], axis=0)
    return Trained(network, task, distance, model.parameters, right, np.array(losses))


class Model:
    """A network with a linear read-out, over a stack of seeds."""

    def __init__(self, network: Network, setting: Setting, like: Batch) -> None:
        self.network, self.setting = network, setting
        self.spec = network.loaded()
        self.length = like.source.shape[1]
        self.width = nearest(self._count, setting.budget)
        self.parameters = self._count(self.width)
        self.sizes = network.sizes(self.spec, setting.batch, self.length, self.width)
        self._run = stack(self.spec, backend="autograd")

    @property
    def _data(self) -> tuple[str, ...]:
        return tuple(
            entry.tensor.name
            for entry in self.spec.inputs
            if any(index.axis.name == "batch" for index in entry.indices)
        )

    def _sized(self, width: int) -> dict[str, int]:
        return self.network.sizes(self.spec, self.setting.batch, self.length, width)

    def _count(self, width: int) -> int:
        sizes = self._sized(width)
        own = (e for e in self.spec.inputs if e.tensor.name not in self._data)
        return sum(prod(shape_of(e, sizes)) for e in own) + SYMBOLS * self._out(sizes)

    def _out(self, sizes: Mapping[str, int]) -> int:
        head = self.spec.heads[self.spec.outputs[0]]
        return shape_of(head, sizes)[-1]

    def initial(self, rngs: list[np.random.Generator]) -> dict[str, Array]:
        """Weights before training, (seeds, ...) each."""
        each = []
        for rng in rngs:
            found = drawn(self.spec, self.sizes, rng, self.network.start)
            own = {n: a for n, a in found.items() if n not in self._data}
            out = self._out(self.sizes)
            own[READ_OUT] = rng.standard_normal((out, SYMBOLS)) / np.sqrt(out)
            each.append(own)
        return {name: np.stack([own[name] for own in each]) for name in each[0]}

    def _inputs(self, batches: list[Batch]) -> dict[str, Array]:
        """What the spec reads of the batches, (seeds, ...) each; states begin at 0."""
        source = np.stack([batch.source for batch in batches])
        query = np.stack([batch.query for batch in batches])
        tokens = source if self.network.query else np.concatenate([source, query], axis=2)
        found = dict.fromkeys(self.network.source, tokens)
        if self.network.query:
            found[self.network.query] = np.repeat(query, self.network.reads, axis=2)
        for entry in self.spec.inputs:
            if entry.tensor.name in self._data and entry.tensor.name not in found:
                found[entry.tensor.name] = np.zeros((len(batches), *shape_of(entry, self.sizes)))
        return found

    def _logits(self, weights: Mapping[str, Any], batches: list[Batch]) -> Any:
        own = {name: value for name, value in weights.items() if name != READ_OUT}
        out = self._run({**self._inputs(batches), **own}, self.sizes, {})[self.spec.outputs[0]]
        return out[:, :, -1] @ weights[READ_OUT]

    def right(self, weights: Mapping[str, Array], batches: list[Batch]) -> Array:
        """The share of right answers, by seed."""
        answers = np.stack([batch.answer for batch in batches])
        found = np.asarray(self._logits(weights, batches)).argmax(axis=-1)
        return np.asarray((found == answers).mean(axis=-1))

    def loss_and_slopes(
        self, weights: Mapping[str, Array], batches: list[Batch]
    ) -> tuple[Array, dict[str, Array]]:
        """The cross-entropy of each seed, and the gradient of each by its own weights."""
        import autograd.numpy as anp  # noqa: PLC0415  autograd loads where something is trained
        from autograd import value_and_grad  # noqa: PLC0415  as above

        chosen = np.eye(SYMBOLS)[np.stack([batch.answer for batch in batches])]
        seen: list[Array] = []

        def loss(current: Mapping[str, Any]) -> Any:
            logits = self._logits(current, batches)
            top = anp.max(logits, axis=-1, keepdims=True)
            whole = anp.log(anp.sum(anp.exp(logits - top), axis=-1)) + top[..., 0]
            each = anp.mean(whole - anp.sum(chosen * logits, axis=-1), axis=-1)
            seen.append(getattr(each, "_value", each))
            # Seeds share nothing, so the gradient of the sum is that of each by its own.
            return anp.sum(each)

        _, slopes = value_and_grad(loss)(dict(weights))
        return np.asarray(seen[-1]), slopes


class Adam:
    """Kingma and Ba 2015, algorithm 1, entry by entry."""

    def __init__(self) -> None:
        self._first: dict[str, Array] = {}
        self._second: dict[str, Array] = {}
        self._steps = 0

    def step(self, weights: Mapping[str, Array], slopes: Mapping[str, Array]) -> dict[str, Array]:
        """The weights after one step."""
        self._steps += 1
        found = {}
        for name, slope in slopes.items():
            m = FIRST * self._first.get(name, 0.0) + (1 - FIRST) * slope
            v = SECOND * self._second.get(name, 0.0) + (1 - SECOND) * slope**2
            self._first[name], self._second[name] = m, v
            mean, square = m / (1 - FIRST**self._steps), v / (1 - SECOND**self._steps)
            found[name] = weights[name] - RATE * mean / (np.sqrt(square) + TINY)
        return found


def nearest(count: Callable[[int], int], budget: int) -> int:
    """The width whose number of parameters is nearest to a budget.

    >>> nearest(lambda width: width * width, 10)
    3
    """
    width = 1
    while count(width) < budget:
        width += 1
    before = max(width - 1, 1)
    return before if budget - count(before) <= count(width) - budget else width
