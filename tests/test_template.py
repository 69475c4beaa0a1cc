"""`attnverify new` writes a file that loads and verifies as it is, and never over another."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

import attnverify as av
from attnverify.cli import app
from attnverify.errors import ParameterError, ReportError
from attnverify.template import begin, template
from attnverify.verdict import Status
from tests import house


def test_the_file_verifies_as_it_is(tmp_path: Path) -> None:
    path = begin("my_attention", tmp_path)
    report = av.verify(str(path), examples=2)
    assert report.ok
    (section,) = report.sections
    refuted = {v.name for v in section.verdicts if v.status is Status.REFUTED}
    assert refuted == {"permutation equivariance"}


def test_the_file_keeps_the_rules_of_spec_files(tmp_path: Path) -> None:
    path = begin("my_attention", tmp_path)
    assert not [*house.foreign_imports(house.parsed(path))]
    assert all(len(line) <= 100 for line in path.read_text(encoding="utf-8").splitlines())


def test_the_file_can_be_exported_as_it_is(tmp_path: Path) -> None:
    spec = av.load(str(begin("my_attention", tmp_path)))
    assert "def my_attention(Q, K, V, *, temperature):" in av.export(spec, to="numpy")


def test_the_command_says_what_comes_next(tmp_path: Path) -> None:
    told = CliRunner().invoke(app, ["new", "mine", "--out", str(tmp_path / "specs")])
    path = tmp_path / "specs" / "mine.py"
    assert told.stdout == f"spec: {path}\nnext: attnverify verify {path}\n"
    assert path.read_text(encoding="utf-8") == template("mine")


def test_a_file_that_is_there_is_kept(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("mine", encoding="utf-8")
    with pytest.raises(ReportError, match="there already"):
        begin("mine", tmp_path)
    assert (tmp_path / "mine.py").read_text(encoding="utf-8") == "mine"


def test_a_folder_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ReportError, match="cannot be written"):
        begin("mine", tmp_path / "file")


@pytest.mark.parametrize("name", ["", "my-attention", "2d", "class", "a/b", "../x"])
def test_a_name_that_no_function_can_have_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="such as my_attention"):
        begin(name, tmp_path)
    assert not [*tmp_path.iterdir()]
