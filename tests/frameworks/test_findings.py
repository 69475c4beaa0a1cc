"""What was found in released libraries comes again, in the version that each page names."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest

from tests.house import ROOT
from tests.test_docs import Block, blocks

pytestmark = pytest.mark.frameworks
PAGES = sorted(path for path in (ROOT / "docs/findings").glob("*.md") if path.stem != "README")
FOUND = re.compile(r"Found in (\S+) (\d[\d.]*\d)")


def told(page: Path) -> tuple[str, str, Block]:
    """The library, its version and the reproduction of a page."""
    text = page.read_text(encoding="utf-8")
    library = FOUND.search(text)
    assert library is not None
    (block,) = blocks(page)
    return library[1], library[2], block


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_finding_comes_again(page: Path) -> None:
    library, found, block = told(page)
    try:
        installed = version(library)
    except PackageNotFoundError:
        pytest.skip(f"{library} is not installed")
    if installed != found:
        pytest.skip(f"found in {library} {found}, installed is {installed}")
    names: dict[str, Any] = {}
    exec(compile(block.text, block.where, "exec"), names)
    assert names["got"] != names["due"]
    assert f"**Got:** {shown(names['got'])}" in page.read_text(encoding="utf-8")


def shown(got: Any) -> str:
    """What came, as a page has it."""
    if isinstance(got, list):
        return f"`{got[0]}`"
    return f"{float(got):.6g}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_finding_says_what_is_due_and_which_document(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert [word for word in ("**Due:**", "**Got:**", "**Violates:**") if word not in text] == []
    index = (ROOT / "docs/findings/README.md").read_text(encoding="utf-8")
    assert f"({page.name})" in index


def test_a_finding_that_is_mended_is_told(tmp_path: Path) -> None:
    page = tmp_path / "mended.md"
    page.write_text("Found in pytest " + version("pytest") + ",\n```python\ngot = due = 1\n```\n")
    with pytest.raises(AssertionError):
        test_a_finding_comes_again(page)
