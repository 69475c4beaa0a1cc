"""What the verdicts of `verify` depend on, as one key: the spec's text, the house, the settings.

A key is computed from files alone, without loading a spec. It holds more than it need, so that a
change too many is judged anew, never a change too few reused.
"""

from __future__ import annotations

import ast
import hashlib
import json
import platform
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

FORM = 1
# What the package needs to run, and what it uses where it is installed.
PACKAGES = (
    "array-api-compat", "autograd", "einops", "hypothesis", "jinja2", "latex2mathml", "ml_dtypes",
    "mpmath", "networkx", "numpy", "opt_einsum", "platformdirs", "pytest", "rich", "scipy", "sympy",
    "threadpoolctl", "typer", "z3-solver", "python-flint",
)  # fmt: skip
# Modules above what makes a section, verdicts and illustrations, so that it cannot import them.
ABOVE = frozenset({"__main__", "cli", "pytest_plugin", "claims", "theorems", "testing", "live"})
# The network that a page shows the flow of gradients beside.
BESIDE = "elman"
# The catalogue travels inside a wheel; each of its files counts for its own spec.
APART = frozenset({"specs", "__pycache__"})
# What a spec file may import and still be told by its text: these read nothing else.
PURE = frozenset({
    "__future__", "attnverify.notation", "attnverify.spec", "collections", "collections.abc",
    "dataclasses", "fractions", "functools", "itertools", "math", "operator", "typing",
})  # fmt: skip
# Names by which a file may come to depend on more than its text.
IMPURE = frozenset({
    "__builtins__", "__file__", "__import__", "__loader__", "__spec__", "breakpoint", "compile",
    "eval", "exec", "globals", "input", "locals", "open", "vars",
})  # fmt: skip


@cache
def house() -> Mapping[str, str]:
    """A digest of the project's own source, and every version that verdicts depend on."""
    found = {
        "attnverify": _source(Path(__file__).parent.parent),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "none"
    return found


def _source(package: Path) -> str:
    """A digest of the files under a package that `verify` may import."""
    digest = hashlib.sha256()
    for path in sorted(_files(package)):
        name = path.relative_to(package).as_posix()
        digest.update(f"{name}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def _files(package: Path) -> Iterator[Path]:
    for path in package.rglob("*"):
        parts = path.relative_to(package).parts
        first = parts[0].removesuffix(".py")
        if path.is_file() and first not in ABOVE and not APART & set(parts):
            yield path


def key_of(
    name: str, values: Mapping[str, Any], seed: int, examples: int | None
) -> tuple[str, str]:
    """The key of all that the verdicts on a spec depend on, and why there is none where it is "".

    Raises LoadError where there is no such spec.

    >>> [len(part) for part in key_of("causal", {}, 0, None)]
    [64, 0]
    """
    from attnverify.library import find  # noqa: PLC0415  a worker of a cluster asks for `house` alone

    file = find(name)
    text = file.read_bytes()
    reason = impure(text) if file.suffix == ".py" else "a model may lie in several files"
    if reason:
        return "", reason
    told = {
        "form": FORM, "name": name, "file": file.name,
        "text": hashlib.sha256(text).hexdigest(),
        "beside": hashlib.sha256(find(BESIDE).read_bytes()).hexdigest(),
        "values": values, "seed": seed, "examples": examples, "house": dict(house()),
    }  # fmt: skip
    # Values come from a command line, where they are JSON or text.
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest(), ""


def member_key(key: str, title: str) -> str:
    """The key of one member of a spec's family; empty where the spec has none.

    >>> member_key("", "causal (align=top_left)")
    ''
    """
    return hashlib.sha256(f"{key}\0{title}".encode()).hexdigest() if key else ""


def impure(text: bytes) -> str:
    """Why a spec file may depend on more than its text; empty where it cannot.

    >>> impure(b"from attnverify.notation import attention")
    ''
    >>> impure(b"import os")
    'it imports os'
    """
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return "it does not parse"
    for node in ast.walk(tree):
        found = _reaches(node)
        if found:
            return found
    return ""


def _reaches(node: ast.AST) -> str:
    """What else a piece of code may reach; empty for nothing."""
    names: list[str] = []
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        names = ["." * node.level + (node.module or "")]
    strange = next((name for name in names if name not in PURE), None)
    if strange is not None:
        return f"it imports {strange}"
    called = node.id if isinstance(node, ast.Name) else ""
    called = node.attr if isinstance(node, ast.Attribute) else called
    return f"it uses {called}" if called in IMPURE else ""
