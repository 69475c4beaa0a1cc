"""The cache serves no stale verdict, whatever changed, and nothing that a subject put there."""

from __future__ import annotations

import json
import os
import sqlite3
import tomllib
import zlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from importlib import metadata
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from typer.testing import Result

import attnverify as av
from attnverify import cache
from attnverify.cache import FILE, Cache, Watch
from attnverify.jobs import key as keys
from attnverify.jobs.key import house, impure, key_of
from attnverify.verdict import Report, Status
from tests import house as rules
from tests.commands import run
from tests.light import SPEC

# As it is where no test says otherwise.
OUTSIDE = os.environ.get(cache.FOLDER)
WORDS = ("verify", "kept.py", "--examples", "2")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder with one spec, and a cache of its own beside it."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv(cache.FOLDER, str(tmp_path / "cache"))
    (work / "kept.py").write_text(SPEC)
    house.cache_clear()
    yield work
    house.cache_clear()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "cache" / FILE


def reused(result: Result) -> bool:
    """Whether a run says that it reused its one section."""
    return "1 of 1 sections reused" in " ".join(result.stdout.split())


# Where it lies


def test_it_lies_where_xdg_says_unless_moved_or_turned_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cache.path() == tmp_path / "cache" / FILE
    monkeypatch.setenv(cache.FOLDER, "")
    assert cache.path() is None
    monkeypatch.delenv(cache.FOLDER)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    found = cache.path()
    assert found is not None
    if os.name == "posix" and "darwin" not in os.sys.platform:  # type: ignore[attr-defined]  # as sys
        assert found == tmp_path / "xdg" / "attnverify" / FILE
    monkeypatch.setenv(cache.INSIDE, "1")
    assert cache.path() is None


def test_the_tests_of_this_project_use_no_cache_of_the_user() -> None:
    assert OUTSIDE == ""
    tox = (rules.ROOT / "tox.ini").read_text(encoding="utf-8")
    assert f"    {cache.FOLDER} =\n" in tox


# What a second run does


def test_a_second_run_judges_nothing_and_gives_the_same_report(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(*WORDS, "--json", "first.json")
    assert first.exit_code == 0, first.output
    assert not reused(first)

    def judging(*_: Any, **__: Any) -> None:
        raise AssertionError("it was judged again")

    monkeypatch.setattr("attnverify.jobs.local.judge", judging)
    second = run(*WORDS, "--json", "second.json")
    assert second.exit_code == 0, second.output
    assert reused(second)
    assert "kept" in second.stdout
    assert (folder / "first.json").read_bytes() == (folder / "second.json").read_bytes()
    assert "it was judged again" in run(*WORDS, "--fresh").output


def test_what_a_report_needs_lies_in_the_store_that_it_is_read_from(folder: Path) -> None:
    words = ("verify", "global", "--examples", "2", "--quiet", "--set", "dropout=true")
    assert run(*words, "--store", "one").exit_code == 0
    assert (
        "1 of 1 sections reused" in run(*words, "--store", "two/three", "--json", "two.json").stdout
    )
    report = Report.from_json(folder / "two.json")
    paths = [v.witness.path for v in report.verdicts if v.witness and v.witness.path]
    assert paths
    for path in paths:
        assert path.startswith("two/three/witnesses/")
        assert (folder / path).read_bytes() == (
            folder / "one" / path[len("two/three/") :]
        ).read_bytes()


def test_a_failure_is_reused_as_a_failure(folder: Path) -> None:
    (folder / "kept.py").write_text(
        SPEC.replace(
            '"permutation equivariance": "a window"', '"linearity in the values": "so it says"'
        )
    )
    first, second = run(*WORDS), run(*WORDS)
    assert (first.exit_code, second.exit_code) == (1, 1), first.output
    assert reused(second)
    assert "so it says" in second.stdout


# What makes a verdict another


CHANGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "the mask": (SPEC.replace("window + 1", "window"), ()),
    "a sign": (SPEC.replace("total(", "-total("), ()),
    "the domain of a parameter": (SPEC.replace("ge=1", "ge=2"), ()),
    "a comment": (SPEC + "# more\n", ()),
    "the value of a parameter": (SPEC, ("--set", "window=3")),
    "the seed": (SPEC, ("--seed", "1")),
    "the number of examples": (SPEC, ("--examples", "3")),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_has_another_key(folder: Path, change: str) -> None:
    before = told_key(WORDS)
    text, words = CHANGES[change]
    (folder / "kept.py").write_text(text)
    assert told_key((*WORDS, *words)) != before
    (folder / "kept.py").write_text(SPEC)
    assert told_key(WORDS) == before


def told_key(words: tuple[str, ...]) -> str:
    """The key of a command line."""
    from attnverify.cli.options import settings

    given = dict(zip(words[2::2], words[3::2], strict=True))
    values = settings([given["--set"]] if "--set" in given else [])
    key, reason = key_of(words[1], values, int(given.get("--seed", 0)), int(given["--examples"]))
    assert reason == ""
    return key


@pytest.mark.parametrize("package", keys.PACKAGES)
def test_another_version_has_another_key(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = told_key(WORDS)
    real = metadata.version
    monkeypatch.setattr(
        keys, "version", lambda name: "0.0.other" if name == package else real(name)
    )
    house.cache_clear()
    assert told_key(WORDS) != before


def test_another_source_has_another_key_and_what_stands_above_has_not(tmp_path: Path) -> None:
    package = tmp_path / "package"
    cases = (
        ("verify.py", True),
        ("provers/normal.py", True),
        ("flow/graph.py", True),
        ("cli/verify.py", False),
        ("live/server.py", False),
        ("specs/a.py", False),
    )
    for name, _ in cases:
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("one\n")
    before = keys._source(package)
    for name, other in cases:
        (package / name).write_text("two\n")
        assert (keys._source(package) != before) is other, name
        (package / name).write_text("one\n")
    (package / "new.py").write_text("")
    assert keys._source(package) != before


def test_what_stands_above_is_what_the_floors_say() -> None:
    """What no key depends on is what a section's verdicts and pictures are kept from importing."""
    project = tomllib.loads((rules.ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    floors = project["tool"]["importlinter"]["contracts"][0]["layers"]
    at = floors.index("(illustrated)")
    above = {name.strip(" ()") for floor in floors[:at] for name in floor.split("|")}
    assert above - {"jobs"} == keys.ABOVE


def test_every_package_that_is_needed_counts() -> None:
    project = tomllib.loads((rules.ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    needed = {line.partition(">")[0] for line in project["project"]["dependencies"]}
    assert needed <= set(keys.PACKAGES)


def test_a_changed_spec_leaves_the_others(folder: Path) -> None:
    (folder / "other.py").write_text(SPEC.replace('"kept"', '"other"'))
    words = ("verify", "kept.py", "other.py", "--examples", "2", "--quiet", "--jobs", "1")
    assert run(*words).exit_code == 0
    (folder / "kept.py").write_text(SPEC.replace("window + 1", "window"))
    again = run(*words)
    assert "1 of 2 sections reused" in again.stdout
    assert run(*words, "--json", "again.json").exit_code == 0
    shown = Report.from_json(folder / "again.json").sections[0].figures["equations"]
    assert "l - window]" in shown[0]["text"]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("import os", "it imports os"),
        ("from .near import mask", "it imports .near"),
        ("from near import mask", "it imports near"),
        ("import attnverify", "it imports attnverify"),
        ("text = open('mask.txt').read()", "it uses open"),
        ("exec('1')", "it uses exec"),
        ("x = __builtins__", "it uses __builtins__"),
        ("def", "it does not parse"),
    ],
)
def test_a_spec_that_reads_more_than_its_text_has_no_key(folder: Path, line: str, why: str) -> None:
    assert impure((SPEC + line + "\n").encode()) == why
    (folder / "kept.py").write_text(SPEC + line + "\n")
    assert key_of("kept.py", {}, 0, 2) == ("", why)


def test_what_has_no_key_is_judged_each_time(folder: Path) -> None:
    (folder / "near.py").write_text("LEFT = 1\n")
    (folder / "kept.py").write_text("import os\n" + SPEC)
    assert run(*WORDS).exit_code == 0
    assert not reused(run(*WORDS))


# What is wrong with the file


def wrecked(file: Path, how: str) -> None:
    """Break a cache in one of many ways."""
    raw = file.read_bytes()
    if how == "cut":
        file.write_bytes(raw[: len(raw) // 2])
    elif how == "noise":
        file.write_bytes(np.random.default_rng(0).bytes(5000))
    elif how == "empty":
        file.write_bytes(b"")
    elif how == "overwritten":
        file.write_bytes(raw[:4096] + b"\xff" * (len(raw) - 4096))
    elif how == "folder":
        file.unlink()
        file.mkdir()
    else:
        statement = {
            "content": "UPDATE entries SET content = x'00'",
            "half": "UPDATE entries SET content = substr(content, 1, 20)",
            "text": "UPDATE entries SET content = 'a text'",
            "none": "UPDATE entries SET digest = ''",
            "table": "ALTER TABLE entries RENAME COLUMN digest TO other",
        }[how]
        base = sqlite3.connect(file)
        base.execute(statement)
        base.commit()
        base.close()


@pytest.mark.parametrize(
    "how",
    ["cut", "noise", "empty", "overwritten", "folder", "content", "half", "text", "none", "table"],
)
def test_a_broken_file_is_a_miss_with_a_sentence(file: Path, how: str) -> None:
    book = Cache(file)
    for number in range(40):
        book.put(f"key {number}", {"value": "x" * 300 + str(number)})
    wrecked(file, how)
    heard: list[str] = []
    again = Cache(file, heard.append)
    found = [again.get(f"key {number}") for number in range(40)]
    for number, value in enumerate(found):
        assert value in (None, {"value": "x" * 300 + str(number)})
    assert None in found
    # An empty file is what a first run finds.
    assert how == "empty" or heard
    assert all(line.startswith("the cache ") and "\n" not in line for line in heard)
    again.put("key 1", {"value": 2})
    if how not in {"folder", "table"}:
        assert Cache(file).get("key 1") == {"value": 2}


def test_a_run_on_a_broken_file_judges_and_says_so(file: Path) -> None:
    file.parent.mkdir(mode=0o700)
    file.write_bytes(b"no base" * 1000)
    result = run(*WORDS)
    assert result.exit_code == 0, result.output
    assert "warning: the cache" in result.stdout
    assert "PROVED" in result.stdout
    assert reused(run(*WORDS))


def test_an_entry_under_another_key_is_none(file: Path) -> None:
    book = Cache(file)
    book.put("one", {"n": 1})
    base = sqlite3.connect(file)
    base.execute("UPDATE entries SET key = 'two'")
    base.commit()
    base.close()
    assert book.get("two") is None


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="no owners of files here")
def test_a_folder_that_others_may_write_to_is_not_believed(file: Path) -> None:
    heard: list[str] = []
    book = Cache(file, heard.append)
    book.put("one", {"n": 1})
    assert file.parent.stat().st_mode & 0o077 == 0
    file.parent.chmod(0o777)
    assert book.get("one") is None
    assert "others may write" in heard[0]


def filled(file: Path, name: str) -> int:
    """Write and read from another process."""
    heard: list[str] = []
    book = Cache(file, heard.append)
    for number in range(12):
        book.put(f"{name} {number}", {"n": number})
        book.put("shared", {"by": name})
        assert book.get("shared") in ({"by": "a"}, {"by": "b"})
    assert heard == []
    return 12


def test_two_processes_at_once_lose_nothing(file: Path) -> None:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        assert list(pool.map(filled, [file, file], ["a", "b"])) == [12, 12]
    book = Cache(file)
    found = {f"{name} {n}": book.get(f"{name} {n}") for name in "ab" for n in range(12)}
    assert found == {f"{name} {n}": {"n": n} for name in "ab" for n in range(12)}


# What an isolated subject does to it


def forging(q: npt.NDArray[Any], k: npt.NDArray[Any], v: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A subject that makes every section of the cache one of another kind, and adds one."""
    file = Path(os.environ[cache.FOLDER]) / FILE
    base = sqlite3.connect(file, timeout=10)
    for key, body in list(base.execute("SELECT key, content FROM entries")):
        forged = json.loads(zlib.decompress(body))
        if "section" in forged:
            forged["section"] = forged["section"].replace("PROVED", "REFUTED")
        packed = zlib.compress(json.dumps(forged).encode())
        changed = (cache._digest(key, packed), packed, key)
        base.execute("UPDATE entries SET digest = ?, content = ? WHERE key = ?", changed)
    packed = zlib.compress(b'{"forged": true}')
    row = ("new", 1e12, cache._digest("new", packed), packed)
    base.execute("INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?)", row)
    base.commit()
    base.close()
    s = np.einsum("bhik,bhjk->bhij", q, k) / np.sqrt(q.shape[-1])
    e = np.exp(s - s.max(-1, keepdims=True))
    return np.asarray(np.einsum("bhij,bhjc->bhic", e / e.sum(-1, keepdims=True), v), q.dtype)


def test_what_an_isolated_subject_writes_is_not_believed(file: Path) -> None:
    assert run(*WORDS).exit_code == 0
    before = Cache(file).digests()
    # In this process nothing keeps a subject from it: the forgery itself is a good one.
    ones = np.ones((1, 1, 2, 2), "float32")
    forging(ones, ones, ones)
    forged = run(*WORDS)
    assert reused(forged)
    assert forged.exit_code == 1
    file.unlink()
    assert run(*WORDS).exit_code == 0
    assert Cache(file).digests().keys() == before.keys()
    report = av.check(forging, "global", isolate=True, cases=2, explain=False)
    assert [v.status for v in report.comparisons][:1] == [Status.HELD]
    assert Cache(file).get("new") is None
    after = run(*WORDS)
    assert after.exit_code == 0
    assert not reused(after)
    assert "◆" not in after.stdout


def test_an_isolated_subject_that_leaves_the_cache_alone_costs_nothing(file: Path) -> None:
    book = Cache(file)
    book.put("one", {"n": 1})
    watch = Watch()
    watch.end()
    assert book.get("one") == {"n": 1}
