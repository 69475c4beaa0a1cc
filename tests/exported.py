"""Exported files run on drawn arrays, and what the oracle says to the same."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import attnverify as av
from attnverify.compare import within
from attnverify.inputs import Case, Draw
from attnverify.notation import (
    Spec,
    absolute,
    axes,
    erf,
    exp,
    larger,
    let,
    log,
    logistic,
    parameter,
    relu,
    smaller,
    sqrt,
    tanh,
    tensors,
    where,
)
from attnverify.verdict import Status, Verdict

Array = npt.NDArray[Any]

# Run with the standard library and what a library needs; anything else is not installed.
APART = """
import json, sys
from pathlib import Path

class Only:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if REFUSED:
            raise ImportError(f"{top} is not installed")

sys.meta_path.insert(0, Only())
import numpy as np
PRELUDE

def said(function, told, arrays):
    result = function(*(given(array) for array in arrays), **told["keywords"])
    return [np.asarray(x) for x in (result if isinstance(result, tuple) else (result,))]

for folder in sorted(Path(sys.argv[1]).iterdir()):
    space = {"__name__": folder.name}
    exec((folder / "file.py").read_text(encoding="utf-8"), space)
    told = json.loads((folder / "told.json").read_text(encoding="utf-8"))
    arrays = list(np.load(folder / "arrays.npz").values())
    forward = said(space[told["name"]], told, arrays[: told["inputs"]])
    backward = said(space[told["name"] + "_gradient"], told, arrays)
    np.savez(folder / "result.npz", *forward, *backward)
"""
OURS = '{"attnverify", "autograd", "hypothesis", "scipy", "z3"}'
APARTS = {
    "numpy": ('top not in {*sys.stdlib_module_names, "numpy"}', "given = np.asarray"),
    "torch": (f'top in {{*{OURS}, "jax"}}', "import torch\ngiven = torch.from_numpy"),
    # JAX itself imports SciPy.
    "jax": (
        f'top in {{*{OURS}, "torch", "sympy"}} - {{"scipy"}}',
        'import jax\njax.config.update("jax_enable_x64", True)\ngiven = jax.numpy.asarray',
    ),
}

# One of each kind: unmasked, masked by structure, by lengths, by an array; grouped heads; open
# parameters and sizes; recurrences; a threshold, tables, a gather, a feature map.
FEW = (
    "global", "causal", "padding", "masked", "grouped_query", "sliding_window", "online_softmax",
    "gated_delta", "entmax15", "alibi", "t5_bias", "paged", "lstm", "rope",
)  # fmt: skip
SIZES = {
    "batch": 2, "repeat": 3, "queries": 3, "keys": 4, "time": 4, "value_dim": 3, "hidden": 3,
}  # fmt: skip
# Of the largest number that is due: sums of a few dozen terms in another order.
ROOM = 2.0**-40


def case_of(spec: Spec, sizes: Mapping[str, int] = SIZES, *, empty: bool = False) -> Case:
    """A small case of unequal sizes, of whose keys some are hidden where a mask can hide them."""
    whole = spec.fitted({axis.name: sizes.get(axis.name, 2) for axis in spec.axes})
    return Draw(spec, empty=empty).case(whole, seed=3)


def due_of(spec: Spec, case: Case) -> dict[str, Array]:
    """The outputs and the gradients by the oracle in float64."""
    back = av.gradient(spec)
    names = [entry.tensor.name for entry in back.inputs[len(spec.inputs) :]]
    cotangents = dict(zip(names, case.cotangents.values(), strict=True))
    more = {"sizes": case.sizes, **case.parameters}
    forward = av.compile(spec)(**case.arrays, **more)
    return {**forward, **av.compile(back)(**case.arrays, **cotangents, **more)}


@dataclass(frozen=True)
class File:
    """The functions that an exported file defines, called with a case's arrays."""

    text: str
    name: str
    names: dict[str, Any]
    arrays: Callable[[Array], Any] = lambda array: array

    def function(self, suffix: str = "") -> Callable[..., tuple[Any, ...]]:
        """A function of the file, whose answer is a tuple."""
        function = self.names[self.name + suffix]

        def called(*arrays: Any, **keywords: Any) -> tuple[Any, ...]:
            result = function(*arrays, **keywords)
            return result if isinstance(result, tuple) else (result,)

        return called

    def keywords(self, case: Case) -> dict[str, Any]:
        """Parameters and sizes that the functions ask for."""
        gradient = inspect.signature(self.names[f"{self.name}_gradient"]).parameters
        asked = [name for name, p in gradient.items() if p.kind is p.KEYWORD_ONLY]
        known = {f"n_{axis}": size for axis, size in case.sizes.items()} | dict(case.parameters)
        return {name: getattr(known[name], "item", lambda n=name: known[n])() for name in asked}

    def given(self, case: Case) -> list[Any]:
        """The arrays in order."""
        return [self.arrays(array) for array in case.arrays.values()]

    def cotangents(self, case: Case) -> list[Any]:
        """The cotangents in order."""
        return [self.arrays(array) for array in case.cotangents.values()]


def opened(text: str, arrays: Callable[[Array], Any] = lambda array: array) -> File:
    """An exported file, run."""
    names: dict[str, Any] = {"__name__": "exported"}
    exec(compile(text, "<exported>", "exec"), names)
    stems = [name.removesuffix("_gradient") for name in names if name.endswith("_gradient")]
    return File(text, max(stems, key=len), names, arrays)


def apart(
    folder: Path, to: str, names: Sequence[str], first_line: str = ""
) -> dict[str, dict[str, Array]]:
    """What the files of some specs say in a process that can import their library alone.

    `first_line` is put before each file's text.
    """
    outputs: dict[str, list[str]] = {}
    for name in names:
        spec = av.load(name)
        outputs[name] = [*spec.outputs, *av.gradient(spec).outputs]
        _put(
            folder / name, opened(av.export(name, to=to, gradient=True)), case_of(spec), first_line
        )
    refused, prelude = APARTS[to]
    script = APART.replace("REFUSED", refused).replace("PRELUDE", prelude)
    command = [sys.executable, "-I", "-c", script, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = {name: np.load(folder / name / "result.npz").values() for name in names}
    return {name: dict(zip(outputs[name], found[name], strict=True)) for name in names}


def _put(folder: Path, file: File, case: Case, first_line: str) -> None:
    """A file in a folder of its own, beside what it is called with."""
    folder.mkdir()
    (folder / "file.py").write_text(first_line + file.text, encoding="utf-8")
    told = {"name": file.name, "keywords": file.keywords(case), "inputs": len(case.arrays)}
    (folder / "told.json").write_text(json.dumps(told), encoding="utf-8")
    np.savez(folder / "arrays.npz", *case.arrays.values(), *case.cotangents.values())


def verdicts(got: Mapping[str, Any], due: Mapping[str, Array]) -> list[Verdict]:
    """Each answer against what is due, in order."""
    assert list(got) == list(due)
    return [
        within(name, np.asarray(got[name]), value, ROOM * (1 + np.nanmax(np.abs(value), initial=0)))
        for name, value in due.items()
    ]


def check_agrees(got: Mapping[str, Any], due: Mapping[str, Array]) -> None:
    """Fail where an answer is not what is due."""
    for verdict in verdicts(got, due):
        assert verdict.status is Status.HELD, f"{verdict.name}: {verdict.detail}"


def differs(got: Mapping[str, Any], due: Mapping[str, Array]) -> bool:
    """Whether some answer is not what is due."""
    return any(verdict.status is Status.REFUTED for verdict in verdicts(got, due))


def every_function() -> Spec:
    """All listed functions, of arrays and of numbers alone."""
    batch, keys = axes("batch keys")
    b, j = batch["b"], keys["j"]
    X, Y, O = tensors("X Y O")
    p = parameter("p", gt=0)
    x = X[b, j]
    arrays = [exp(x), log(x * x + 1), sqrt(x * x + 1), tanh(x), logistic(x), erf(x), relu(x)]
    arrays += [absolute(x), larger(x, Y[b, j]), smaller(x, p), larger(p, x), x**3]
    numbers = [exp(p), log(p), sqrt(p), tanh(p), logistic(p), erf(p), relu(p), absolute(p)]
    numbers += [larger(p, 2), smaller(p, 2), 1 / p, where(p * 1 > 1)]
    parts = [let(O[b, j], sum(arrays[1:], arrays[0]) + sum(numbers[1:], numbers[0]))]
    return Spec("every_function", [x, Y[b, j]], parts, [O], parameters=[p])
