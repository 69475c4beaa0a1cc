"""The node cases that the installed onnx package generates, judged by the specs of their nodes."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import onnx
import onnx.reference
from numpy.typing import NDArray

from attnverify.compare import Form, judge
from attnverify.compile.sizes import bind as sizes_of
from attnverify.dtypes import type_name
from attnverify.onnx import Bound, bind
from attnverify.rounding import Rounding
from attnverify.spec import Spec
from attnverify.subjects.layout import Layout
from attnverify.verdict import Verdict

Array = NDArray[Any]
OPERATORS = {
    "Attention": "attention",
    "LinearAttention": "linear_attention",
    "RotaryEmbedding": "rotaryembedding",
}


def generated() -> dict[str, Any]:
    """The cases of the three operators by name, as the installed package generates them."""
    node = importlib.import_module("onnx.backend.test.case.node")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module in OPERATORS.values():
            importlib.import_module(f"{node.__name__}.{module}")
    return {case.name: case for case in node._NodeTestCases}


CASES = generated()
NODES = {
    name: case
    for name, case in CASES.items()
    if len(case.model.graph.node) == 1 and case.model.graph.node[0].op_type in OPERATORS
}
# Each node again, as the function body that defines its operator.
EXPANDED = {name: name.partition("_expanded")[0] for name in CASES if "_expanded" in name}


def operator(name: str) -> str:
    return str(NODES[name].model.graph.node[0].op_type)


def model_of(name: str, **changes: Any) -> Any:
    """A copy of a case's model, some attributes of its node told otherwise."""
    model = onnx.ModelProto()
    model.CopyFrom(NODES[name].model)
    node = model.graph.node[0]
    kept = [attribute for attribute in node.attribute if attribute.name not in changes]
    told = [onnx.helper.make_attribute(*change) for change in changes.items()]
    del node.attribute[:]
    node.attribute.extend([*kept, *told])
    return model


def stored(name: str) -> tuple[dict[str, Array], dict[str, Array]]:
    """The inputs and outputs of a case by their names in the graph."""
    case = CASES[name]
    graph = case.model.graph
    inputs, outputs = (
        {value.name: np.asarray(array) for value, array in zip(values, arrays, strict=True)}
        for values, arrays in zip((graph.input, graph.output), case.data_sets[0], strict=True)
    )
    return inputs, outputs


def evaluated(model: Any, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The outputs of onnx's reference evaluator."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = onnx.reference.ReferenceEvaluator(model).run(None, dict(inputs))
    names = [value.name for value in model.graph.output]
    return dict(zip(names, map(np.asarray, found), strict=True))


@cache
def _rounding(spec: Spec, dtype: str, internal: str | None) -> Rounding:
    return Rounding(spec, dtype, internal=internal)


@dataclass(frozen=True)
class Judged:
    """A bound node and the arrays of its spec's inputs."""

    bound: Bound
    arrays: Mapping[str, Array]

    def verdicts(
        self, got: Mapping[str, Array], dtype: str, internal: str | None = None
    ) -> list[Verdict]:
        """A verdict on every output, its value and its bound derived from the spec."""
        spec = self.bound.spec
        layout = Layout(spec, self.bound.layout or None)
        sizes = sizes_of(spec, {n: a.shape for n, a in self.arrays.items()}, None)
        expected = _rounding(spec, dtype, internal).expected(self.arrays, {})
        assert not expected.reason
        found = []
        for output, tensor in self.bound.outputs.items():

            def restore(array: Array, tensor: str = tensor) -> Array:
                return layout.inward(tensor, array, sizes)

            form = Form(layout.shape(tensor, sizes), layout.pattern(tensor), dtype, restore)
            found.append(judge(output, got.get(output), expected.dues[tensor], form))
        return found


def judged(name: str, **changes: Any) -> Judged:
    """A case as the spec of its node has it, some attributes told otherwise."""
    bound = bind(model_of(name, **changes))
    return Judged(bound, bound.arrays(stored(name)[0]))


def dtype_of(name: str) -> str:
    return type_name(next(iter(stored(name)[1].values())).dtype)
