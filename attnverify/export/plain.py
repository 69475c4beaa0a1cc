"""The equations themselves: as a LaTeX document, and as JSON."""

from __future__ import annotations

import json

from attnverify.serial.write import spec_tree
from attnverify.spec import Spec

_ESCAPED = {c: "\\" + c for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


def latex_file(spec: Spec, gradient: Spec | None) -> str:
    """A document that a LaTeX with amsmath sets: a section of equations for each spec."""
    parts = [part for part in (spec, gradient) if part is not None]
    return "\n".join(
        [
            r"\documentclass{article}",
            r"\usepackage[T1]{fontenc}",
            r"\usepackage{amsmath,amssymb}",
            r"\begin{document}",
            *(line for part in parts for line in _section(part)),
            r"\end{document}",
            "",
        ]
    )


def _section(spec: Spec) -> list[str]:
    """A title, what it is, and the equations, one below the other."""
    rows = [row.replace(" = ", " &= ", 1) for row in spec.latex()]
    told = escaped(spec.description.strip())
    return [
        rf"\section*{{{escaped(spec.name)}}}",
        *([told] if told else []),
        r"\begin{align*}",
        " \\\\\n".join(rows),
        r"\end{align*}",
    ]


def escaped(text: str) -> str:
    r"""Text in which LaTeX reads nothing but letters.

    >>> escaped("grouped_query")
    'grouped\\_query'
    """
    return "".join(_ESCAPED.get(c, c) for c in text)


def json_file(spec: Spec, gradient: Spec | None) -> str:
    """The trees of `attnverify.serial`: the spec's alone, or beside it that of its gradient."""
    tree = spec_tree(spec)
    if gradient is not None:
        tree = {"forward": tree, "gradient": spec_tree(gradient)}
    return json.dumps(tree, ensure_ascii=False) + "\n"
