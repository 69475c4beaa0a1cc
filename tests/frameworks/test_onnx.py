"""Every Attention and RotaryEmbedding case that onnx generates agrees with the spec of its node.

The values due and their bounds come from the spec; the values that onnx stores, its reference
evaluator's, and those of the function body that expands the node are each held to them.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import einops
import numpy as np
import pytest
from numpy.typing import NDArray

from attnverify.compare import Due, Form, judge, same_bits
from attnverify.compile import compile as compile_spec
from attnverify.dtypes import type_name
from attnverify.notation import attention, causal, grouped, within
from attnverify.rounding import Rounding
from attnverify.spec import Spec
from attnverify.verdict import Status, Verdict
from tests.frameworks.onnx_nodes import Tie, attention_ties, left, rotary_tie

pytestmark = pytest.mark.frameworks
onnx = pytest.importorskip("onnx")
reference = pytest.importorskip("onnx.reference")

Array = NDArray[Any]
OPERATORS = {"attention": "Attention", "rotaryembedding": "RotaryEmbedding"}


def generated() -> dict[str, Any]:
    """The cases of the two operators by name, as the installed package generates them."""
    node = importlib.import_module("onnx.backend.test.case.node")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module in OPERATORS:
            importlib.import_module(f"{node.__name__}.{module}")
    return {case.name: case for case in node._NodeTestCases}


CASES = generated()
NODES = {
    name: case
    for name, case in CASES.items()
    if len(case.model.graph.node) == 1 and case.model.graph.node[0].op_type in OPERATORS.values()
}
EXPANDED = sorted(set(CASES) - set(NODES))


def operator(name: str) -> str:
    return str(NODES[name].model.graph.node[0].op_type)


def attributes(name: str) -> dict[str, Any]:
    node = NODES[name].model.graph.node[0]
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


def by_schema(name: str) -> tuple[dict[str, Array], dict[str, Array]]:
    """The stored inputs and outputs of a case under the names of the operator's schema."""
    model = NODES[name].model
    node = model.graph.node[0]
    schema = onnx.defs.get_schema(node.op_type, model.opset_import[0].version)
    found = []
    sides = ((node.input, schema.inputs), (node.output, schema.outputs))
    for (used, slots), arrays in zip(sides, NODES[name].data_sets[0], strict=True):
        present = [slot.name for slot, given in zip(slots, used, strict=False) if given]
        found.append({n: np.asarray(a) for n, a in zip(present, arrays, strict=True)})
    return found[0], found[1]


def ties(name: str, changes: Mapping[str, Any] | None = None) -> list[Tie]:
    """The specs of a case's node, some attributes told otherwise than the node has them."""
    told = {**attributes(name), **(changes or {})}
    inputs, outputs = by_schema(name)
    if operator(name) == "Attention":
        return attention_ties(told, inputs, outputs)
    return [rotary_tie(told, inputs)]


@cache
def rounding(spec: Spec, dtype: str, internal: str | None) -> Rounding:
    return Rounding(spec, dtype, internal=internal)


def due_of(tie: Tie, dtype: str, internal: str | None = None) -> Iterator[tuple[str, Due]]:
    """What is due for each output of a tie, with its standard deviation."""
    expected = rounding(tie.spec, dtype, internal).expected(tie.arrays, tie.parameters)
    assert not expected.reason
    for output, tensor in tie.outputs.items():
        due = expected.dues[tensor]
        if tie.seen is not None:
            known = {entry.tensor.name for entry in tie.seen.inputs}
            arrays = {name: array for name, array in tie.arrays.items() if name in known}
            wide = {n: a.astype(float) if a.dtype.kind in "fV" else a for n, a in arrays.items()}
            numbers = {p.name: tie.parameters[p.name] for p in tie.seen.parameters}
            seen = compile_spec(tie.seen)(**wide, **numbers)["A"] == 1
            due = Due(np.where(seen, due.value, -np.inf), np.where(seen, due.sigma, 0), due.axes)
        yield output, due


def judged(name: str, got: Mapping[str, Array], tied: list[Tie], **how: Any) -> list[Verdict]:
    """A verdict on every output of a node."""
    dtype = type_name(next(iter(by_schema(name)[1].values())).dtype)
    verdicts = []
    for tie in tied:
        for output, due in due_of(tie, dtype, **how):
            pattern = tie.layout.get(output, "b h n d")
            laid = einops.rearrange(due.value, f"b h n d -> {pattern}")

            def restore(array: Array, pattern: str = pattern, due: Due = due) -> Array:
                back = f"{pattern} -> b h n d"
                return np.asarray(einops.rearrange(array, back, h=due.value.shape[1]))

            form = Form(laid.shape, pattern, dtype, restore)
            verdicts.append(judge(output, got.get(output), due, form))
    return verdicts


def evaluated(name: str, model: Any) -> dict[str, Array]:
    """The outputs of the reference evaluator, under the names of the schema."""
    arrays = NODES[name].data_sets[0][0]
    feeds = dict(zip((given.name for given in model.graph.input), arrays, strict=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outputs = reference.ReferenceEvaluator(model).run(None, feeds)
    return dict(zip(by_schema(name)[1], map(np.asarray, outputs), strict=True))


def base(name: str) -> str:
    """The case that a function body expands."""
    return name.partition("_expanded")[0]


@pytest.mark.parametrize("name", NODES)
def test_a_node_agrees_with_its_spec(name: str) -> None:
    tied = ties(name)
    assert {out for tie in tied for out in tie.outputs} == set(by_schema(name)[1])
    answers = {"stored": by_schema(name)[1], "evaluated": evaluated(name, NODES[name].model)}
    for other in EXPANDED:
        if base(other) == name:
            answers[other] = evaluated(name, CASES[other].model)
    for source, outputs in answers.items():
        for verdict in judged(name, outputs, tied):
            assert verdict.status is Status.HELD, f"{source} {verdict.name}: {verdict.detail}"


def test_every_case_is_tied() -> None:
    counts = {op: sum(operator(name) == op for name in NODES) for op in OPERATORS.values()}
    assert counts["Attention"] >= 70
    assert counts["RotaryEmbedding"] >= 8
    assert all(base(name) in NODES for name in EXPANDED)


@pytest.mark.parametrize("name", EXPANDED)
def test_an_expanded_case_has_the_data_of_its_node(name: str) -> None:
    ours, theirs = (case.data_sets[0] for case in (CASES[name], NODES[base(name)]))
    for side in range(2):
        for one, other in zip(ours[side], theirs[side], strict=True):
            same = same_bits(name, np.asarray(one), np.asarray(other))
            assert same.status is Status.HELD, same.detail


# Attributes told otherwise than the node has them: each is another convention, which must show.
WRONG: dict[str, tuple[str, dict[str, Any], str]] = {
    "a causal mask forgotten": ("test_attention_4d_causal", {"is_causal": 0}, "Y"),
    "a causal mask too many": ("test_attention_4d_with_past_and_present", {"is_causal": 1}, "Y"),
    "another scale": ("test_attention_4d_scaled", {"scale": 0.0101}, "Y"),
    "another cap": ("test_attention_4d_softcap", {"softcap": 2.01}, "Y"),
    "no cap": ("test_attention_4d_gqa_softcap", {"softcap": 0.0}, "Y"),
    "a window one key wider": ("test_attention_local_window", {"left_window_size": 3}, "Y"),
    "a window open to the right": (
        "test_attention_bidirectional_window",
        {"right_window_size": -1},
        "Y",
    ),
    "scores before the cap": (
        "test_attention_4d_with_qk_matmul_softcap",
        {"qk_matmul_output_mode": 0},
        "qk_matmul_output",
    ),
    "scores without the bias": (
        "test_attention_4d_with_qk_matmul_bias",
        {"qk_matmul_output_mode": 1},
        "qk_matmul_output",
    ),
    "scores in place of weights": (
        "test_attention_4d_with_qk_matmul_softmax",
        {"qk_matmul_output_mode": 2},
        "qk_matmul_output",
    ),
    "halves for neighbours": ("test_rotary_embedding", {"interleaved": 1}, "Y"),
    "neighbours for halves": ("test_rotary_embedding_interleaved", {"interleaved": 0}, "Y"),
}


@pytest.mark.parametrize(("name", "changes", "output"), WRONG.values(), ids=WRONG)
def test_another_convention_is_refuted(name: str, changes: dict[str, Any], output: str) -> None:
    verdicts = {v.name: v.status for v in judged(name, by_schema(name)[1], ties(name, changes))}
    assert verdicts[output] is Status.REFUTED


def with_choices(name: str, **changes: Any) -> list[Tie]:
    """The ties of a case with arrays or specs changed one by one."""
    return [
        replace(tie, **{key: change(tie) for key, change in changes.items()}) for tie in ties(name)
    ]


def other_arrays(name: str, change: Callable[[Array], Array]) -> Callable[[Tie], dict[str, Array]]:
    return lambda tie: {**tie.arrays, name: change(tie.arrays[name])}


UNTRUE: dict[str, tuple[str, dict[str, Callable[[Tie], Any]]]] = {
    "the polarity of a mask": (
        "test_attention_4d_attn_mask_bool",
        {"arrays": other_arrays("mask", np.logical_not)},
    ),
    "one key fewer": (
        "test_attention_4d_causal_nonpad_batch_prefill",
        {"arrays": other_arrays("lengths", lambda lengths: lengths - 1)},
    ),
    "a frontier one key further": (
        "test_attention_4d_gqa_causal_nonpad_decode",
        {"arrays": other_arrays("offset", lambda offset: offset - 1)},
    ),
    "a diagonal from the last key, where fewer keys than queries are new": (
        "test_attention_local_window_with_past",
        {"spec": lambda _: from_the_last_key()},
    ),
    "key heads in cycles": ("test_attention_4d_gqa", {"spec": lambda _: in_cycles()}),
    "positions one later": (
        "test_rotary_embedding",
        {"arrays": other_arrays("position_ids", lambda ids: (ids + 1) % 50)},
    ),
    "columns of another pair": (
        "test_rotary_embedding_no_position_ids",
        {"arrays": other_arrays("sin", lambda table: table[:, ::-1])},
    ),
}


def from_the_last_key() -> Spec:
    mask = causal("bottom_right") & within(left, None, "bottom_right")
    found = attention("onnx_attention", mask=mask, cache=True, parameters=[left])
    return found.replace(outputs=("O", "K_all", "V_all"))


def in_cycles() -> Spec:
    return attention("onnx_attention", heads=grouped("tile"))


@pytest.mark.parametrize(("name", "changes"), UNTRUE.values(), ids=UNTRUE)
def test_other_arrays_or_specs_are_refuted(
    name: str, changes: dict[str, Callable[[Tie], Any]]
) -> None:
    tied = with_choices(name, **changes)
    assert judged(name, by_schema(name)[1], tied)[0].status is Status.REFUTED


def test_a_narrower_softmax_is_told_apart_and_may_be_declared() -> None:
    name = "test_attention_4d"
    model = onnx.ModelProto()
    model.CopyFrom(NODES[name].model)
    half = onnx.helper.make_attribute("softmax_precision", onnx.TensorProto.FLOAT16)
    model.graph.node[0].attribute.append(half)
    got = evaluated(name, model)
    assert judged(name, got, ties(name))[0].status is Status.REFUTED
    assert judged(name, got, ties(name), internal="float16")[0].status is Status.HELD
