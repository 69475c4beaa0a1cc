"""What the site has beside the pages of this folder: the catalogue, the reference, the overview."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

import attnverify as av
from attnverify.report.mathml import mathml
from attnverify.spec import Spec

ROOT = Path(__file__).resolve().parent.parent
# Pages of the project's root under their names here.
OF_ROOT = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changes.md",
}
# The first line of a fenced block says how it is run, which the site need not know.
FENCE = re.compile(r"^(```\w+) [^\n]*$", re.MULTILINE)
# Formulas as GitHub shows them: a block between lines of two dollars, or a few signs in a line.
BLOCK = re.compile(r"^\$\$\n(.*?)\n\$\$$", re.MULTILINE | re.DOTALL)
SIGNS = re.compile(r"\$(?=\S)([^$\n]+?)(?<=\S)\$")
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)(#[^)]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """The pages of the folder, and those that are made."""
    for name, text in pages():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """A page without how its blocks are run, and without links to files that are no pages.

    Formulas become MathML, so that a page needs no script from elsewhere.
    """
    plain = LINK.sub(_linked, FENCE.sub(r"\1", markdown))
    shown = BLOCK.sub(lambda found: f"<p>{_formula(found[1])}</p>", plain)
    return SIGNS.sub(lambda found: _formula(found[1]).replace("block", "inline", 1), shown)


def _formula(latex: str) -> str:
    """A formula as MathML that stands on lines of its own."""
    return str(mathml(" ".join(latex.split()), latex))


def pages() -> Iterator[tuple[str, str]]:
    """Names and texts of the pages that are made."""
    for theirs, ours in OF_ROOT.items():
        yield ours, (ROOT / theirs).read_text(encoding="utf-8").replace("](docs/", "](")
    names = av.catalog()
    yield "catalogue/index.md", "\n".join(["# Catalogue\n", *map(_line, names)])
    for name in names:
        yield f"catalogue/{name}.md", _spec(av.load(name))
    yield "reference.md", "\n\n".join(["# Reference", *map(_reference, av.__all__)])


def _linked(found: re.Match[str]) -> str:
    """A link to another page of the root by its name here; to what is no page, its words alone."""
    target = found[1].removeprefix("../")
    if target in OF_ROOT:
        return f"]({OF_ROOT[target]}{found[2] or ''})"
    return found[0] if target.endswith(".md") else "]()"


def _line(name: str) -> str:
    return f"- [{name}]({name}.md): {_first(av.load(name))}"


def _first(spec: Spec) -> str:
    return spec.description.partition("\n")[0]


def _spec(spec: Spec) -> str:
    """A page of one spec: what it is, its equations, its derived gradient, its choices."""
    parts = [f"# {spec.name}", spec.description, "## Equations", *_equations(spec)]
    parts += ["## Derived gradient", *_equations(av.gradient(spec))]
    if spec.announces:
        rows = [f"- {name}: {reason}" for name, reason in spec.announces.items()]
        parts += ["## What fails of it, as a property of the variant", "\n".join(rows)]
    return "\n\n".join([*parts, f"```bash\nattnverify verify {spec.name}\n```"])


def _equations(spec: Spec) -> list[str]:
    rows = (mathml(row["latex"], row["text"]) for row in spec.printed())
    return [f'<div style="padding: .4em 0">{row}</div>' for row in rows]


def _reference(name: str) -> str:
    home = av._HOMES[name]  # noqa: SLF001  the face knows where each of its names lives
    return f"::: {home}.{name}"
