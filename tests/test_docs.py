"""The blocks of README.md and docs/*.md run as they stand.

python            run, in one namespace per page; with `>>>` its answers are compared
python file=X     written to X in the page's working folder
console           each `$ attnverify ...` is run; lines below it are its output (`...` elides)
console exit=N    the same, and the command exits with status N
console pytest    the same for `$ pytest ...`, with our plugin
any of these with `frameworks` needs torch and jax and runs in `tox -e frameworks`
"""

from __future__ import annotations

import doctest
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.house import PLUGIN, ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LANGUAGES = {"python", "console", "bash", "text", "toml", "json", "yaml"}
ELLIPSIS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    where: str
    language: str
    options: tuple[str, ...]
    text: str

    def option(self, name: str) -> str | None:
        """The value of `name=value` in the block's first line."""
        values = [
            option.split("=", 1)[1] for option in self.options if option.startswith(name + "=")
        ]
        return values[0] if values else None


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            f"{page.name}:{text.count(chr(10), 0, m.start()) + 1}", m[1], tuple(m[2].split()), m[3]
        )
        for m in FENCE.finditer(text)
    ]


def run_python(block: Block, names: dict[str, Any]) -> None:
    """Run a block, comparing the answers where it shows any; a wrong answer raises."""
    if ">>>" not in block.text:
        exec(compile(block.text, block.where, "exec"), names)
        return
    case = doctest.DocTestParser().get_doctest(block.text, names, block.where, block.where, 0)
    heard: list[str] = []
    runner = doctest.DocTestRunner(optionflags=ELLIPSIS)
    runner.run(case, out=heard.append, clear_globs=False)
    names.update(case.globs)
    assert runner.summarize(verbose=False).failed == 0, "".join(heard)


def commands(text: str) -> list[tuple[str, str]]:
    """The commands of a console block, each with the output shown below it."""
    found: list[tuple[str, str]] = []
    for line in text.splitlines(keepends=True):
        if line.startswith("$ "):
            found.append((line[2:].strip(), ""))
        elif found:
            found[-1] = (found[-1][0], found[-1][1] + line)
    return found


def run_console(block: Block) -> None:
    """Run each command of a block; its exit status and the output shown must be what comes."""
    due = int(block.option("exit") or 0)
    ours = "pytest" if "pytest" in block.options else "attnverify"
    for command, shown in commands(block.text):
        program, *arguments = shlex.split(command)
        assert program == ours, f"{block.where}: only our own command is run"
        plugin = PLUGIN if ours == "pytest" else ()
        done = subprocess.run(
            [sys.executable, "-m", program, *plugin, *arguments],
            # What a page reuses is its own.
            env=os.environ | {"COLUMNS": "100", "NO_COLOR": "1", "ATTNVERIFY_CACHE": "cache"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == due, f"{block.where}: {command}\n{done.stdout}{done.stderr}"
        matches = doctest.OutputChecker().check_output(shown, done.stdout, ELLIPSIS)
        assert matches or not shown.strip(), f"{block.where}: {command}\n{done.stdout}"


def run_page(page: list[Block]) -> int:
    """Run the blocks of a page in the working folder; how many there were to run."""
    names: dict[str, Any] = {"__name__": "page"}
    ran = 0
    for block in page:
        assert block.language in LANGUAGES, f"{block.where}: what is {block.language}?"
        target = block.option("file")
        if target:
            Path(target).write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            run_python(block, names)
        elif block.language == "console":
            run_console(block)
        elif block.language == "yaml":
            assert isinstance(yaml.safe_load(block.text), list), block.where
        ran += 1
    return ran


# Pages whose programs judge several subjects, each in several types.
LONG = {
    "audit.md", "check-my-kernel.md", "in-ci.md", "teach.md", "tolerances.md", "tour.md",
    "your-own-variant.md",
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder that holds a copy of nothing but the examples."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=pytest.mark.slow if page.name in LONG else ()) for page in PAGES],
    ids=lambda page: page.name,
)
def test_the_blocks_of_a_page_run(page: Path) -> None:
    plain = [block for block in blocks(page) if "frameworks" not in block.options]
    assert run_page(plain) == len(plain)


@pytest.mark.frameworks
@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=pytest.mark.slow if page.name in LONG else ())
        for page in PAGES
        if any("frameworks" in block.options for block in blocks(page))
    ],
    ids=lambda page: page.name,
)
def test_the_blocks_that_need_a_framework_run(page: Path) -> None:
    assert run_page(blocks(page)) > 0


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def block(language: str, text: str, *options: str) -> Block:
    """A block of no page."""
    return Block("nowhere:1", language, options, text)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    "wrong",
    [
        block("python", "raise AssertionError"),
        block("python", ">>> 1 + 1\n3\n"),
        block("console", "$ attnverify show no_such_spec\n"),
        block("console", "$ attnverify list\nno such output\n"),
        block("console", "$ attnverify list\n", "exit=2"),
        block("console", "$ rm -r x\n"),
        block("pithon", "1\n"),
    ],
    ids=lambda wrong: wrong.text.strip().splitlines()[0],
)
def test_a_block_that_is_wrong_fails(wrong: Block) -> None:
    with pytest.raises(AssertionError):
        run_page([wrong])
