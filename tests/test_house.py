"""The house keeps its own rules; and every search for a broken rule finds one that is planted."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import attnverify
from tests import house

PYPROJECT = tomllib.loads((house.ROOT / "pyproject.toml").read_text(encoding="utf-8"))
Search = Callable[[ast.Module], Iterator[int]]

FACE = {
    "Report",
    "Spec",
    "Verdict",
    "attention",
    "catalog",
    "check",
    "compile",
    "export",
    "flow",
    "from_flex",
    "from_onnx",
    "ghostwrite",
    "gradient",
    "audit",
    "identify",
    "lattice",
    "load",
    "onnx_tests",
    "tangent",
    "verify",
    "write_html",
}


def places(search: Search, paths: list[Path]) -> list[str]:
    """Every `file:line` that a search finds in the files."""
    return [
        f"{path.relative_to(house.ROOT)}:{line}"
        for path in paths
        for line in search(house.parsed(path))
    ]


def test_the_public_face_is_what_is_promised() -> None:
    assert set(attnverify.__all__) - {"__version__"} == FACE
    assert set(dir(attnverify)) >= set(attnverify.__all__)
    for name in attnverify.__all__:
        assert getattr(attnverify, name) is not None


def test_a_name_that_is_not_of_the_face_is_an_attribute_error() -> None:
    misspelt = "gradeint"
    with pytest.raises(AttributeError, match=misspelt):
        getattr(attnverify, misspelt)


def test_no_comparison_is_dropped() -> None:
    assert places(house.dropped_comparisons, house.sources()) == []


def test_numbers_are_compared_in_one_file() -> None:
    elsewhere = [path for path in house.sources("attnverify") if path.name != "compare.py"]
    assert places(house.comparisons, elsewhere) == []


def test_no_tolerance_is_typed_by_hand() -> None:
    assert places(house.typed_tolerances, house.sources("attnverify")) == []


def test_spec_files_import_from_the_notation_alone() -> None:
    assert places(house.foreign_imports, house.sources("specs")) == []


def test_functions_are_short() -> None:
    assert places(house.long_functions, house.sources()) == []


@pytest.mark.parametrize(
    ("folders", "most"),
    [
        (("attnverify", "specs", "benchmarks", "examples"), house.MOST_LINES_OF_FILE),
        (("tests",), house.MOST_LINES_OF_TESTS),
    ],
)
def test_files_are_short(folders: tuple[str, ...], most: int) -> None:
    lengths = {
        str(path.relative_to(house.ROOT)): path.read_text(encoding="utf-8").count("\n")
        for path in house.sources(*folders)
    }
    assert lengths
    assert {name: lines for name, lines in lengths.items() if lines > most} == {}


def test_everything_public_says_what_it_is() -> None:
    assert places(house.undocumented, house.sources("attnverify", "specs", "benchmarks")) == []


def test_every_test_asserts() -> None:
    assert places(house.unasserted_tests, house.sources("tests")) == []


@pytest.mark.parametrize(
    ("search", "broken", "kept"),
    [
        (house.dropped_comparisons, "np.allclose(a, b)", "assert np.allclose(a, b)"),
        (house.dropped_comparisons, "array_equal(a, b)", "same = array_equal(a, b)"),
        (house.comparisons, "assert np.isclose(a, b)", "assert close(a, b)"),
        (house.typed_tolerances, "f(a, rtol=1e-3)", "f(a, bound=bound)"),
        (
            house.long_functions,
            "def f():\n" + "    x = 1\n" * 60,
            "def f():\n" + "    x = 1\n" * 59,
        ),
        (house.undocumented, "x = 1", '"""What it is."""\nx = 1'),
        (house.undocumented, '"""A."""\nclass C:\n    """C."""\n    def f(self): ...', '"""A."""'),
        (house.foreign_imports, "import numpy", "from attnverify.notation import axes"),
        (house.unasserted_tests, "def test_x():\n    f()", "def test_x():\n    assert f()"),
    ],
)
def test_each_search_finds_what_is_planted(search: Search, broken: str, kept: str) -> None:
    assert list(search(ast.parse(broken)))
    assert not list(search(ast.parse(kept)))


def test_versions_agree() -> None:
    version = PYPROJECT["project"]["version"]
    assert attnverify.__version__ == version
    changes = (house.ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## (\S+)", changes, re.MULTILINE)
    assert newest is not None
    assert newest[1] == version


def test_importing_the_package_loads_nothing_heavy() -> None:
    program = "import sys, attnverify; print(' '.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert "attnverify" in loaded
    assert not loaded & {"sympy", "scipy", "hypothesis", "z3", "networkx", "torch", "jax", "rich"}


def test_continuous_integration_runs_the_readme_command() -> None:
    readme = (house.ROOT / "README.md").read_text(encoding="utf-8")
    script = (house.ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for environment in ("verify", "test"):
        assert f"python -m pip install tox && python -m tox run -e {environment}" in readme
    assert "python -m pip install tox && python -m tox run -e test" in script
    assert os.access(house.ROOT / ".ci" / "run", os.X_OK)


def built_wheel(folder: Path) -> Path:
    """Build the wheel as an installer would, without fetching anything."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=house.ROOT, capture_output=True, check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def test_the_wheel_carries_the_specs_and_nothing_beside_the_package(tmp_path: Path) -> None:
    wheel = built_wheel(tmp_path / "dist")
    with zipfile.ZipFile(wheel) as packed:
        names = packed.namelist()
        packed.extractall(tmp_path / "site")
    assert wheel.name.startswith(f"attnverify-{PYPROJECT['project']['version']}-")
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"attnverify"}
    due = {f"attnverify/specs/{path.name}" for path in (house.ROOT / "specs").glob("*.py")}
    assert due
    assert due <= set(names)
    assert "attnverify/py.typed" in names
    assert [name for name in names if name.startswith("attnverify/report/templates/")]
    listed = subprocess.run(
        [sys.executable, "-P", "-m", "attnverify", "list"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "site"), "COLUMNS": "120"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "global" in listed.stdout
