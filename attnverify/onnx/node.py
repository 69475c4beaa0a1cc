"""What a node says of itself: operator, operator set, attributes, and the types of its inputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from os import PathLike
from typing import Any

import numpy as np

from attnverify.dtypes import type_name
from attnverify.errors import LoadError, MissingExtraError, ParameterError

OPERATORS = ("Attention", "LinearAttention", "RotaryEmbedding")
Shape = tuple[int | None, ...]


def library() -> Any:
    """The onnx package, loaded when a node is read; MissingExtraError where it is not installed."""
    try:
        import onnx  # noqa: PLC0415  an optional extra, which the public face does without
    except ImportError as error:
        raise MissingExtraError("reading an ONNX node", extra="onnx") from error
    return onnx


@dataclass(frozen=True)
class Given:
    """One input of a node: its name in the graph, and its type and shape where they are known.

    A size that is not known, or has a name, is None.
    """

    name: str
    dtype: str = ""
    shape: Shape | None = None

    @property
    def rank(self) -> int | None:
        """The number of axes, None where it is not known."""
        return None if self.shape is None else len(self.shape)


@dataclass(frozen=True)
class Node:
    """A node of one of the three operators; inputs and outputs by the names of its schema.

    `proto` is the node as it came.
    """

    op: str
    version: int
    attributes: Mapping[str, Any]
    inputs: Mapping[str, Given]
    outputs: Mapping[str, str]
    proto: Any = field(default=None, repr=False, compare=False)

    def number(self, name: str, default: int = 0) -> int:
        """An attribute that is a whole number."""
        return int(self.attributes.get(name, default))

    def flag(self, name: str) -> bool:
        """An attribute that is 0 or 1; ParameterError for another number."""
        value = self.number(name)
        if value not in (0, 1):
            raise self.refused(f"{name} is 0 or 1", found=value, hint=f"give {name}=0 or {name}=1")
        return bool(value)

    def known(self, name: str, what: str, why: str) -> ParameterError:
        """The error of an input of which too little is known."""
        given = self.inputs[name]
        return self.refused(
            f"the {what} of the input '{given.name}' ({name}) is not known, and {why}",
            hint="give a model whose inputs have types, or types={"
            f"{given.name!r}: an array like it}}",
        )

    def refused(self, words: str, **parts: object) -> ParameterError:
        """The error of a node that has no spec."""
        return ParameterError(words, node=f"{self.op}-{self.version}", **parts)


def read(source: Any, types: Mapping[str, Any] | None = None, opset: int | None = None) -> Node:
    """The one node of the three operators that a NodeProto, a ModelProto or a model's path holds.

    `types` has arrays, or ValueInfoProtos, by the names of a graph's inputs; `opset` is the
    operator set of a bare node, the newest that is installed unless given.
    Raises ParameterError for what is no such node, LoadError for a file that cannot be read.
    """
    model = _model(source)
    proto = source if model is None else _the_node(model.graph.node)
    if proto.op_type not in OPERATORS or proto.domain not in ("", "ai.onnx"):
        raise ParameterError(
            "there is no spec for this operator",
            found=f"{proto.domain}.{proto.op_type}".lstrip("."),
            due=", ".join(OPERATORS),
            hint="give a node of one of these, in ONNX's own domain",
        )
    known = {**({} if model is None else dict(_declared(model.graph))), **dict(_told(types or {}))}
    schema = _schema(proto.op_type, opset if model is None else _opset(model))
    return _by_schema(proto, schema, known)


def _model(source: Any) -> Any:
    """The model that a path or a ModelProto is; None for a node."""
    if isinstance(source, library().NodeProto):
        return None
    if isinstance(source, library().ModelProto):
        return source
    if not isinstance(source, str | PathLike):
        raise ParameterError(
            "an ONNX node is a NodeProto, a ModelProto or a model's file",
            found=type(source).__name__,
            hint="make one with onnx.helper.make_node",
        )
    try:
        return library().load(source)
    except Exception as error:
        raise LoadError(
            "the ONNX model cannot be read", found=f"{source}: {type(error).__name__}: {error}"
        ) from error


def _the_node(nodes: Iterable[Any]) -> Any:
    found = [node for node in nodes if node.op_type in OPERATORS]
    if len(found) != 1:
        raise ParameterError(
            "a model is read by its one node of these operators",
            found=f"{len(found)} of them",
            due=", ".join(OPERATORS),
            hint="give one of model.graph.node, and types=",
        )
    return found[0]


def _opset(model: Any) -> int | None:
    """The version of ONNX's own operators that a model imports."""
    return next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), None)


def _schema(op: str, opset: int | None) -> Any:
    """The operator's schema in an operator set, the newest unless told."""
    try:
        if opset is None:
            return library().defs.get_schema(op)
        return library().defs.get_schema(op, opset)
    except library().defs.SchemaError as error:
        raise ParameterError(
            "this operator set has no such operator",
            found=f"{op} in opset {opset or library().defs.onnx_opset_version()}",
            hint="give opset=, or install a newer onnx",
        ) from error


def _by_schema(proto: Any, schema: Any, known: Mapping[str, Given]) -> Node:
    """The node with its inputs and outputs named; ParameterError where the schema has no such."""
    slots = (proto.input, schema.inputs), (proto.output, schema.outputs)
    node = Node(schema.name, schema.since_version, _attributes(proto, schema), {}, {}, proto)
    for side, (names, due) in zip(("inputs", "outputs"), slots, strict=True):
        if len(names) > len(due):
            raise node.refused(
                f"the node has more {side} than its operator set defines",
                found=len(names),
                due=", ".join(slot.name for slot in due),
                hint="declare a newer operator set with opset=",
            )
    inputs, outputs = (
        {slot.name: name for slot, name in zip(due, names, strict=False) if name}
        for names, due in slots
    )
    missing = [slot.name for slot in schema.inputs if _required(slot) and slot.name not in inputs]
    if missing:
        raise node.refused("the node lacks an input", found="none", due=", ".join(missing))
    given = {slot: known.get(name, Given(name)) for slot, name in inputs.items()}
    return replace(node, inputs=given, outputs=outputs)


def _required(slot: Any) -> bool:
    return bool(slot.option == library().defs.OpSchema.FormalParameterOption.Single)


def _attributes(proto: Any, schema: Any) -> dict[str, Any]:
    """The attributes that the node has; ParameterError for one that its schema lacks."""
    found: dict[str, Any] = {}
    for attribute in proto.attribute:
        if attribute.name not in schema.attributes or attribute.ref_attr_name:
            raise ParameterError(
                "the node has an attribute that its operator set does not define"
                if not attribute.ref_attr_name
                else "the node's attribute is that of a function around it",
                node=f"{schema.name}-{schema.since_version}",
                found=attribute.name,
                due=", ".join(sorted(schema.attributes)),
                hint="declare a newer operator set with opset=, or leave the attribute out"
                if not attribute.ref_attr_name
                else "give the attribute a value of its own",
            )
        value = library().helper.get_attribute_value(attribute)
        found[attribute.name] = value.decode() if isinstance(value, bytes) else value
    return found


def _declared(graph: Any) -> Iterator[tuple[str, Given]]:
    """What a graph says of the types of its values."""
    for value in (*graph.value_info, *graph.input):
        yield value.name, _of_value(value.name, value)
    for stored in graph.initializer:
        kind = type_name(library().helper.tensor_dtype_to_np_dtype(stored.data_type))
        yield stored.name, Given(stored.name, kind, tuple(stored.dims))


def _told(types: Mapping[str, Any]) -> Iterator[tuple[str, Given]]:
    """What `types` says: each an array or a ValueInfoProto."""
    for name, value in types.items():
        if isinstance(value, library().ValueInfoProto):
            yield name, _of_value(name, value)
        else:
            array = np.asarray(value)
            yield name, Given(name, type_name(array.dtype), array.shape)


def _of_value(name: str, value: Any) -> Given:
    kind = value.type.tensor_type
    dtype = (
        type_name(library().helper.tensor_dtype_to_np_dtype(kind.elem_type))
        if kind.elem_type
        else ""
    )
    if not kind.HasField("shape"):
        return Given(name, dtype)
    sizes = (d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim)
    return Given(name, dtype, tuple(sizes))
