"""A large report is an index with a page for each section, and is searched by a filter."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from attnverify.report import render_html, write_html
from attnverify.verdict import Report
from tests.pages import FIGURES, FILTER, HOSTILE, SPEC, SUBJECT, WHOLE, Page, checked, everywhere

BULK = FIGURES | {"source": "x" * 50_000}
MANY = Report((*(replace(SPEC, spec=f"<b>spec</b> {n}", figures=BULK) for n in range(12)), SUBJECT))


def test_a_large_report_is_an_index_with_a_page_for_each_section(tmp_path: Path) -> None:
    index = write_html(MANY, tmp_path / "new" / "a:in #1.html")
    pages = {f"a%3Ain%20%231_files/{path.name}": path for path in index.parent.glob("*/*.html")}
    assert len(pages) == 13
    sources = {name: path.read_text(encoding="utf-8") for name, path in pages.items()}
    anchors = {name: set(Page(source).values("id")) for name, source in sources.items()}
    found = checked(index.read_text(encoding="utf-8"), pages)
    assert "x" * 1000 not in found.text
    links = [link.split("#") for link in found.values("href") if link.split("#")[0] in pages]
    assert {name for name, _ in links} == set(pages)
    assert all(anchor in anchors[name] for name, anchor in links)
    assert sum(1 for _, anchor in links if anchor == "rows-sum-to-one") == 12
    beside = {"../a%3Ain%20%231.html", *(path.name for path in pages.values())}
    for name, source in sources.items():
        one = checked(source, beside)
        assert "../a%3Ain%20%231.html" in one.values("href")
        assert ("forward O" in one.text) == ("m-f" in name)


def test_a_small_report_is_one_page_and_so_is_a_section(tmp_path: Path) -> None:
    for at, report in enumerate((WHOLE, Report(MANY.sections[:1]))):
        path = write_html(report, tmp_path / f"{at}.html")
        assert path.read_text(encoding="utf-8") == render_html(report)
        assert {found.name for found in tmp_path.iterdir()} == {f"{n}.html" for n in range(at + 1)}


@pytest.mark.parametrize("words", HOSTILE)
def test_hostile_text_is_inert_on_every_page_of_many(words: str, tmp_path: Path) -> None:
    sections = everywhere(words).sections
    large = tuple(replace(one, figures={**one.figures, "source": "x" * 59_000}) for one in sections)
    index = write_html(Report(large * 5), tmp_path / "index.html")
    pages = {f"index_files/{path.name}": path for path in tmp_path.glob("*/*.html")}
    assert len(pages) == 10
    checked(index.read_text(encoding="utf-8"), pages)
    for path in pages.values():
        checked(path.read_text("utf-8"), {"../index.html", *(p.name for p in pages.values())})


def test_the_filter_is_there_where_there_is_much_to_find_and_no_other_script_is_allowed() -> None:
    assert "<script>" not in render_html(WHOLE)
    source = render_html(MANY)
    digest = base64.b64encode(hashlib.sha256(FILTER.encode()).digest()).decode("ascii")
    assert f"script-src 'sha256-{digest}'\">" in source
    assert checked(source).scripts == [FILTER]
    assert "spec</b> 11" in checked(source).values("data-name")[-1]
