"""Write a pytest file of property tests for a spec: those that its invariants allow, and no other.

The text uses `attnverify.testing`; it is short so that it can be read, changed and kept.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from textwrap import fill, indent
from typing import Any

from attnverify import __version__
from attnverify.errors import ParameterError, SubjectError
from attnverify.ghostwrite.flow import written_flow
from attnverify.ghostwrite.properties import WIDTH, left_out, safe, shape, wrapped, written
from attnverify.library import catalog, load, selections
from attnverify.spec import Spec


def ghostwrite(
    spec: str | Spec,
    *,
    against: str | None = None,
    framework: str = "numpy",
    layout: str | None = None,
    dtype: str = "float32",
    flow: bool = False,
    **params: Any,
) -> str:
    """The text of a pytest file with Hypothesis tests of the properties that a spec has.

    `against` names the subject, module:function or file.py:function; without one the spec's own
    compiled text stands where it would.  With `flow` the tests are of gradient flow: what comes
    back from one position of the output, and from how far.  `framework`, `layout` and `dtype` are
    as in `check`, other keywords choose the spec's member and give its parameters values.

    Raises LoadError where the spec does not load, ParameterError for a Spec that is not in the
    catalogue or, with `flow`, runs along no sequence, SubjectError for a subject that is not named
    so.

    >>> text = ghostwrite("causal", against="kernel:attention")
    >>> [line[9:].partition("(")[0] for line in text.splitlines() if line.startswith("def ")][2:4]
    ['rows_sum_to_one', 'masked_weights_are_zero']
    """
    name, values = (spec, params) if isinstance(spec, str) else _named(spec, params)
    loaded = load(name, **values)
    told = {"framework": framework, "layout": layout, "dtype": dtype}
    plain = {"framework": "numpy", "layout": None, "dtype": "float32"}
    given = {key: value for key, value in told.items() if value != plain[key]}
    if against is None and set(given) - {"dtype"}:
        raise ParameterError(
            "framework and layout are a subject's", hint="name it: against='module:function'"
        )
    tests = written_flow(loaded) if flow else written(loaded)
    opening = _opening(loaded, name, values, against, given)
    if not any("np." in text for text in tests):
        opening = opening.removeprefix("import numpy as np\n")
    head = _head(loaded, against, dtype, flow=flow)
    return "\n\n\n".join([f"{head}\n\n{opening}", *tests]) + "\n"


def _named(spec: Spec, params: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The catalogue's name of a spec, with the choices that give it; the file loads it by them."""
    if spec.name in catalog():
        for member in selections(spec.name, {}):
            if member.spec == spec:
                return spec.name, {**member.values, **params}
    raise ParameterError(
        "the file that is written loads its spec by name",
        spec=spec.name,
        hint="give the name, or the path of its file, and its parameters as keywords",
    )


# ---- The head of the file


def _head(spec: Spec, against: str | None, dtype: str, *, flow: bool) -> str:
    """The docstring: what it was written from, the shapes, and what is not asked and why."""
    subject = against or "the spec's own compiled text"
    first = spec.description.strip().partition("\n")[0]
    inputs = ", ".join(shape(spec, entry.tensor.name) for entry in spec.inputs)
    outputs = ", ".join(shape(spec, name) for name in spec.outputs)
    absent = {} if flow else left_out(spec)
    announced = [f"{name}: {reason}" for name, reason in absent.items()]
    paragraphs = [
        fill(first, WIDTH),
        indent(wrapped(f"{inputs} -> {outputs}", WIDTH - 4), "    "),
        fill(
            "Each comparison is bounded by what rounding can do to the case drawn, as derived from "
            f"the spec for {dtype}.",
            WIDTH,
        ),
    ]
    if announced:
        listed = "\n".join(fill(line, WIDTH, subsequent_indent="    ") for line in announced)
        paragraphs.append(f"Not asked, because the spec announces that it fails:\n{listed}")
    what = "Properties of the gradient flow of" if flow else "Properties of"
    title = f"{what} {subject}, written by attnverify {__version__} from the spec {spec.name}."
    text = "\n\n".join(filter(None, [fill(title, WIDTH - 3), *paragraphs]))
    return f'"""{safe(text)}\n"""'


def _opening(
    spec: Spec, name: str, values: Mapping[str, Any], against: str | None, given: Mapping[str, Any]
) -> str:
    """The imports, the spec, and the subject on trial."""
    chosen = "".join(f", {key}={_literal(value)}" for key, value in values.items())
    told = "".join(f", {key}={json.dumps(value)}" for key, value in given.items())
    imports, called, own = _subject(spec, against, str(given.get("dtype", "float32")))
    lines = [
        "import numpy as np",
        "from hypothesis import given",
        "",
        "import attnverify as av",
        *imports,
        "from attnverify.testing import Trial, properties",
        "",
        f"spec = av.load({json.dumps(name)}{chosen})",
        *own,
        f"subject = Trial({called}, spec{told})",
    ]
    return "\n".join(lines)


def _literal(value: Any) -> str:
    return json.dumps(value) if isinstance(value, str) else repr(value)


def _subject(spec: Spec, against: str | None, dtype: str) -> tuple[list[str], str, list[str]]:
    """The import of the subject, the words that name it, and what stands in where there is none."""
    if against is None:
        ahead = ", ".join(entry.tensor.name for entry in spec.inputs[:3])
        by_name = ", ".join(f"{e.tensor.name}={e.tensor.name}" for e in spec.inputs[:3])
        out = "" if len(spec.outputs) > 1 else f'["{spec.outputs[0]}"]'
        own = [
            f'oracle = av.compile(spec, backend="autograd", dtype="{dtype}")',
            "",
            "",
            f"def attention({ahead}, **others):",
            '    """Stands where your function goes: it is called as this one is."""',
            f"    return oracle({by_name}, **others){out}",
            "",
            "",
        ]
        return [], "attention", own
    source, colon, function = against.rpartition(":")
    if not colon or not source or not all(part.isidentifier() for part in function.split(".")):
        raise SubjectError(
            "a subject is named module:function or file.py:function", found=repr(against)
        )
    if source.endswith(".py"):
        line = "from attnverify.library import resolve_subject"
        return [line], f"resolve_subject({json.dumps(against)})", []
    if not all(part.isidentifier() for part in source.split(".")):
        raise SubjectError("a module's name is words and dots", found=repr(source))
    return [f"import {source}"], f"{source}.{function}", []
