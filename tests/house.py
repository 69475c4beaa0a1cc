"""What the house looks for in its own files: each search returns where a rule is broken."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from importlib.metadata import entry_points
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "attnverify"
FOLDERS = ("attnverify", "specs", "tests", "benchmarks", "examples")
MOST_LINES_OF_FILE = 400
MOST_LINES_OF_TESTS = 600  # tables of cases, one case per line, are read by looking one up
MOST_LINES_OF_FUNCTION = 60
COMPARERS = {"array_equal", "array_equiv", "allclose", "isclose", "equal_nan"}
TOLERANCES = {"rtol", "atol", "rel_tol", "abs_tol"}
# What a pytest of its own is given: nothing where the installed package tells it of the plugin.
PLUGIN = (
    ()
    if "attnverify" in entry_points(group="pytest11").names
    else ("-p", "attnverify.pytest_plugin")
)
Function = ast.FunctionDef | ast.AsyncFunctionDef


def sources(*folders: str) -> list[Path]:
    """Every Python file below the folders named (default: all of ours)."""
    return sorted(path for folder in folders or FOLDERS for path in (ROOT / folder).rglob("*.py"))


def parsed(path: Path) -> ast.Module:
    """The syntax tree of one file."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def called_name(node: ast.AST) -> str:
    """The last part of the name that a call calls: `np.linalg.norm(x)` gives norm."""
    match node:
        case ast.Call(func=ast.Attribute(attr=name)) | ast.Call(func=ast.Name(id=name)):
            return name
        case _:
            return ""


def dropped_comparisons(tree: ast.AST) -> Iterator[int]:
    """Lines where a comparison is made and its answer is used by nobody."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and called_name(node.value) in COMPARERS:
            yield node.lineno


def comparisons(tree: ast.AST) -> Iterator[int]:
    """Lines where numbers are compared at all."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and called_name(node) in COMPARERS:
            yield node.lineno


def typed_tolerances(tree: ast.AST) -> Iterator[int]:
    """Lines where a tolerance is a number that somebody typed."""
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg in TOLERANCES:
            yield node.value.lineno


def long_functions(tree: ast.AST) -> Iterator[int]:
    """Lines where a function starts that is longer than the house allows."""
    for node in ast.walk(tree):
        if isinstance(node, Function):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > MOST_LINES_OF_FUNCTION:
                yield node.lineno


def _public(body: Iterable[ast.stmt]) -> Iterator[Function | ast.ClassDef]:
    for node in body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from _public(node.body)


def undocumented(tree: ast.Module) -> Iterator[int]:
    """Lines of public functions, classes and methods (or 1: the file) without a docstring."""
    if tree.body and not ast.get_docstring(tree):
        yield 1
    for node in _public(tree.body):
        if not ast.get_docstring(node):
            yield node.lineno


def unasserted_tests(tree: ast.AST) -> Iterator[int]:
    """Lines of tests that neither assert nor expect a raise, by themselves or by a helper."""
    expects = ("assert", "raises", "check", "expect", "warns")
    for node in ast.walk(tree):
        if isinstance(node, Function) and node.name.startswith("test_"):
            inside = list(ast.walk(node))
            calls = (called_name(part) for part in inside)
            if not any(isinstance(part, ast.Assert) for part in inside) and not any(
                name.startswith(expects) or name == "raise_if_refuted" for name in calls
            ):
                yield node.lineno


def foreign_imports(tree: ast.AST) -> Iterator[int]:
    """Lines where a spec file imports from anywhere but the notation."""
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module="attnverify.notation" | "__future__"):
                continue
            case ast.Import() | ast.ImportFrom():
                yield node.lineno
