"""Node tests in ONNX's own format: a folder with a model, its data, and how to compare."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnverify.errors import ParameterError, ReportError
from attnverify.onnx import Bound
from attnverify.onnx.node import library
from attnverify.onnx_tests.cases import Kept
from attnverify.subjects.layout import Layout

Array = NDArray[Any]


def written(folder: Path, bound: Bound, kept: Kept, layout: Layout, words: str) -> Path:
    """Write one test; ReportError where the folder cannot be written.

    `model.onnx` is the node alone, with the types and sizes of this case. `test_data_set_0` has
    `input_N.pb` and `output_N.pb`, and `bound_N.pb`: how far each entry of an output may stray.
    `data.json` has the tolerances where ONNX's own runner reads them.
    """
    feeds = bound.feeds({n: layout.outward(n, a) for n, a in kept.case.arrays.items()})
    outputs = {name: tensor for name, tensor in bound.outputs.items() if tensor in kept.outputs}
    answers = {n: layout.outward(t, kept.outputs[t]) for n, t in outputs.items()}
    bounds = {n: layout.outward(t, kept.bounds[t]) for n, t in outputs.items()}
    try:
        data = folder / "test_data_set_0"
        data.mkdir(parents=True, exist_ok=True)
        library().save(model(bound, feeds, answers, words), folder / "model.onnx")
        for kind, arrays in (("input", feeds), ("output", answers), ("bound", bounds)):
            for number, (name, array) in enumerate(arrays.items()):
                tensor = library().numpy_helper.from_array(np.ascontiguousarray(array), name)
                (data / f"{kind}_{number}.pb").write_bytes(tensor.SerializeToString())
        told = _told(folder.name, kept, outputs)
        (folder / "data.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise ReportError("the tests cannot be written", found=str(error)) from error
    return folder


def model(
    bound: Bound, feeds: Mapping[str, Array], answers: Mapping[str, Array], words: str
) -> Any:
    """The node as a model whose inputs and outputs have the types and sizes of these arrays.

    Raises ParameterError where the operator takes no such type.
    """
    helper = library().helper
    # What has no value that is due is an output of the node and none of the graph.
    sides = [[_declared(n, a) for n, a in arrays.items()] for arrays in (feeds, answers)]
    graph = helper.make_graph([bound.node.proto], bound.node.op, *sides, doc_string=words)
    opset = helper.make_opsetid("", bound.node.version)
    ir_version = helper.find_min_ir_version_for([opset], ignore_unknown=True)
    found = helper.make_model(
        graph, opset_imports=[opset], ir_version=ir_version, producer_name="attnverify"
    )
    try:
        library().checker.check_model(found)
        library().shape_inference.infer_shapes(found, check_type=True, strict_mode=True)
    except (library().checker.ValidationError, library().shape_inference.InferenceError) as error:
        raise ParameterError(
            "ONNX does not take the model of this case",
            node=f"{bound.node.op}-{bound.node.version}",
            found=str(error).strip().splitlines()[0],
            hint="give another dtype, or other sizes",
        ) from error
    return found


def _declared(name: str, array: Array) -> Any:
    helper = library().helper
    return helper.make_tensor_value_info(
        name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
    )


def _told(name: str, kept: Kept, outputs: Mapping[str, str]) -> dict[str, Any]:
    """How to compare, where ONNX reads it, and what the case is good for."""
    pairs = {output: kept.tolerances[tensor] for output, tensor in outputs.items()}
    relative, absolute = (max(pair[side] for pair in pairs.values()) for side in (0, 1))
    return {
        "model_name": name,
        "url": None,
        "rtol": relative,
        "atol": absolute,
        "outputs": {n: {"rtol": pair[0], "atol": pair[1]} for n, pair in pairs.items()},
        "drawn": {"style": kept.case.style, "seed": kept.case.seed, "sizes": dict(kept.case.sizes)},
        "refutes": list(kept.shows),
    }
