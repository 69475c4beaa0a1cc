"""ONNX subjects: a model or a node, run by the reference evaluator or by onnxruntime."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from attnverify.compare import same_bits
from attnverify.dtypes import float_type, type_name
from attnverify.errors import (
    AttnverifyError,
    MissingExtraError,
    ParameterError,
    SubjectError,
)
from attnverify.subjects.base import ForwardOnly, Plan, SubjectFault, Values, guarded, returned
from attnverify.verdict import Status

if TYPE_CHECKING:
    from attnverify.onnx import Bound
    from attnverify.spec import Spec

try:
    import onnx
    import onnx.reference
    from onnx import helper
except ImportError as error:  # the extra is not installed
    raise MissingExtraError(
        "ONNX is not installed", hint='pip install "attnverify[onnx]"'
    ) from error

Array = NDArray[Any]


class OnnxSubject(ForwardOnly):
    """A model whose graph inputs are the arguments: by name where a name is the spec's.

    Integers and Python numbers take the type that the graph declares; real arrays never do.
    Raises SubjectError for a model that cannot be read or run, or whose inputs are others.
    """

    framework: ClassVar[str] = "onnx"

    def __init__(self, fn: Any, plan: Plan, vjp: Callable[..., Any] | None = None) -> None:
        source = fn if isinstance(fn, onnx.NodeProto) else _model(fn)
        self.bound = bound_model(source, plan.spec) if not plan.inputs and not plan.kwargs else None
        self.graph = _by_name(plan, _names(source))
        one = isinstance(source, onnx.NodeProto)
        self.model = _of_node(source, self.graph, self.bound) if one else source
        self.takes = _taken(self.model)
        # What does not fit is told before anything is drawn.
        self._feed(*_samples(plan))
        super().__init__(self._prepared(), plan, vjp)

    def _feed(self, values: Values, parameters: Values) -> dict[str, Array]:
        """Every graph input: as its node has it, or as a call of the plan has it."""
        if self.bound is not None:
            return _fed(self.takes, (), self.bound.feeds(values))
        return _fed(self.takes, *self.graph.arguments(values, parameters))

    def call(self, values: Values, parameters: Values) -> Any:
        """Run the model; its outputs in order, or by name where names are known or asked for."""
        found = guarded(self.fn, None, self._feed(values, parameters))
        names = [output.name for output in self.model.graph.output]
        by_name = dict(zip(names, found, strict=True))
        if isinstance(self.plan.outputs, Mapping):
            return {**dict(enumerate(found)), **by_name}
        if self.bound is not None and not self.plan.outputs:
            return {tensor: by_name[name] for name, tensor in self.bound.outputs.items()}
        return tuple(found)

    def lift(self, array: Array) -> Array:
        """The array itself."""
        return array

    def lower(self, value: Any, name: str) -> Array:
        """The array itself, copied so that a later call cannot change it."""
        if not isinstance(value, np.ndarray | np.generic):
            raise returned(value, name, "a tensor")
        return np.array(value)

    @abstractmethod
    def _prepared(self) -> Callable[..., Any]:
        """What runs the model: names of outputs and a feed in, arrays out."""


class ReferenceSubject(OnnxSubject):
    """A model run by onnx's reference evaluator."""

    def _prepared(self) -> Callable[..., Any]:
        run: Callable[..., Any] = _built(
            lambda: onnx.reference.ReferenceEvaluator(self.model), "onnx's reference evaluator"
        ).run
        return run


class RuntimeSubject(OnnxSubject):
    """A model run by onnxruntime on the CPU."""

    framework: ClassVar[str] = "onnxruntime"

    def __init__(self, fn: Any, plan: Plan, vjp: Callable[..., Any] | None = None) -> None:
        if plan.dtype == "bfloat16":
            raise ParameterError("onnxruntime takes no bfloat16 from NumPy", found=plan.dtype)
        super().__init__(fn, plan, vjp)

    def _prepared(self) -> Callable[..., Any]:
        try:
            import onnxruntime  # noqa: PLC0415  the reference evaluator does without it
        except ImportError as error:
            raise MissingExtraError(
                "onnxruntime is not installed", hint='pip install "attnverify[onnx]"'
            ) from error
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        run: Callable[..., Any] = _built(
            lambda: onnxruntime.InferenceSession(
                self.model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            ),
            "onnxruntime",
        ).run
        return run


def bound_model(source: Any, spec: Spec) -> Bound | None:
    """A node, or that of a model that is no more, where `spec` is what `from_onnx` makes of it."""
    graph = source.graph if isinstance(source, onnx.ModelProto) else None
    if (graph is not None and len(graph.node) != 1) or not spec.name.startswith("onnx_"):
        return None
    # Specs are made of SymPy's sizes, which other models do without.
    from attnverify.onnx import bind  # noqa: PLC0415
    from attnverify.onnx.told import types_by  # noqa: PLC0415

    try:
        found = bind(source, types=types_by(spec, source) if graph is None else None)
    except AttnverifyError:
        return None
    theirs, ours = (
        [(entry.tensor.name, entry.tensor.kind) for entry in each.inputs]
        for each in (spec, found.spec)
    )
    given = graph.output if graph is not None else ()
    names = {output.name for output in given} or set(found.outputs)
    fits = (spec.name, theirs) == (found.spec.name, ours) and names == set(found.outputs)
    return found if fits else None


def own_layout(fn: Any, spec: Spec) -> dict[str, str] | None:
    """How a model's node lays out the arrays of the spec that it makes; None for another model."""
    bound = bound_model(fn if isinstance(fn, onnx.NodeProto) else _model(fn), spec)
    return None if bound is None else dict(bound.layout)


def _built(build: Callable[[], Any], runner: str) -> Any:
    try:
        return build()
    except Exception as error:
        raise SubjectError(
            f"{runner} cannot run this model",
            found=(str(error).strip().splitlines() or [type(error).__name__])[0],
            hint="it may lack an operator in this type or operator set",
        ) from error


def _by_name(plan: Plan, names: Sequence[str]) -> Plan:
    """The plan with every input that bears its name in the graph given by that name."""
    known = [entry.tensor.name for entry in plan.spec.inputs]
    known += [parameter.name for parameter in plan.spec.parameters]
    return replace(plan, inputs={**{n: n for n in known if n in names}, **plan.inputs})


def _names(source: Any) -> list[str]:
    """The names of the inputs that a model or a node takes."""
    if isinstance(source, onnx.NodeProto):
        return [name for name in dict.fromkeys(source.input) if name]
    return list(_taken(source))


def _model(fn: Any) -> Any:
    """The model that a path or a ModelProto is."""
    if isinstance(fn, onnx.ModelProto):
        return fn
    if not isinstance(fn, str | PathLike):
        raise SubjectError(
            "an ONNX subject is a file, a ModelProto or a NodeProto", found=type(fn).__name__
        )
    try:
        return onnx.load(fn)
    except Exception as error:
        raise SubjectError(
            "the ONNX model cannot be read", found=f"{fn}: {type(error).__name__}: {error}"
        ) from error


def _of_node(node: Any, plan: Plan, bound: Bound | None) -> Any:
    """A model of one node, in the newest operator set that defines its operator anew."""
    try:
        version = onnx.defs.get_schema(node.op_type, domain=node.domain).since_version
    except onnx.defs.SchemaError as error:
        raise SubjectError("ONNX has no such operator", found=node.op_type) from error
    names, (arrays, parameters) = _names(node), _samples(plan)
    samples = bound.feeds(arrays) if bound is not None else None
    samples = samples or _matched(names, *plan.arguments(arrays, parameters))
    inputs = [_declared(name, samples[name], plan.dtype) for name in names]
    outputs = [helper.make_empty_tensor_value_info(name) for name in node.output if name]
    graph = helper.make_graph([node], node.op_type, inputs, outputs)
    opset = helper.make_opsetid(node.domain, version)
    ir_version = helper.find_min_ir_version_for([opset], ignore_unknown=True)
    return helper.make_model(graph, opset_imports=[opset], ir_version=ir_version)


def _declared(name: str, sample: Any, dtype: str) -> Any:
    """A graph input of the type and the number of axes that a sample has."""
    array = np.asarray(sample)
    to = float_type(dtype).numpy if isinstance(sample, float) else array.dtype
    axes = [f"{name}_{axis}" for axis in range(array.ndim)]
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(to), axes)


def _samples(plan: Plan) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arrays of the types and axes that the spec's inputs have, and numbers for its parameters."""
    ones = {axis.name: 1 for axis in plan.spec.axes}
    kinds = {"real": plan.dtype, "bool": "bool", "int": "int64"}
    arrays = {
        entry.tensor.name: np.zeros(
            plan.layout.shape(entry.tensor.name, ones),
            plan.types.get(entry.tensor.name, kinds[entry.tensor.kind]),
        )
        for entry in plan.spec.inputs
    }
    return arrays, {p.name: 0 if p.integer else 0.0 for p in plan.spec.parameters}


def _taken(model: Any) -> dict[str, Any]:
    """The graph inputs that have no stored value, each with its type."""
    stored = {array.name for array in model.graph.initializer}
    return {
        entry.name: helper.tensor_dtype_to_np_dtype(entry.type.tensor_type.elem_type)
        for entry in model.graph.input
        if entry.name not in stored
    }


def _matched(
    names: Sequence[str], args: Sequence[Any], keywords: Mapping[str, Any]
) -> dict[str, Any]:
    """The argument of each graph input; SubjectFault where there is one too many or too few."""
    due = f"the model's inputs are {', '.join(names)}"
    unknown = [name for name in keywords if name not in names]
    if unknown:
        raise SubjectFault(f"{due}, none is named {unknown[0]}", misuse=True)
    free = [name for name in names if name not in keywords]
    if len(free) != len(args):
        given = ", ".join([f"{len(args)} by position", *keywords])
        raise SubjectFault(f"{due}, but it is given {given}", misuse=True)
    return {**dict(zip(free, args, strict=True)), **keywords}


def _fed(
    takes: Mapping[str, Any], args: Sequence[Any], keywords: Mapping[str, Any]
) -> dict[str, Any]:
    """The feed: every graph input with an array of the type that it declares."""
    matched = _matched(list(takes), args, keywords)
    return {name: _typed(name, value, takes[name]) for name, value in matched.items()}


def _typed(name: str, value: Any, due: np.dtype[Any]) -> Array:
    if not isinstance(value, np.ndarray):
        return np.asarray(value, due)
    if value.dtype == due:
        return value
    cast = value.astype(due) if value.dtype.kind == "i" and due.kind in "iu" else None
    back = None if cast is None else cast.astype(value.dtype)
    if cast is None or back is None or same_bits(name, back, value).status is not Status.HELD:
        raise SubjectFault(
            f"the model takes {name} in {type_name(due)}, not in {type_name(value.dtype)}",
            misuse=True,
        )
    return cast
