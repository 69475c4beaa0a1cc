"""The command line: what it prints, the status it leaves with, and no traceback unless asked."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

import attnverify
from attnverify import store
from attnverify.cli import Words
from attnverify.cli.options import mapping, settings
from attnverify.errors import MissingExtraError, SpecError, UsageError
from attnverify.jobs.local import processes
from attnverify.jobs.schedule import judged
from attnverify.jobs.task import Task, tasks_of
from attnverify.library import members
from attnverify.verdict import Report, Section, Status, Verdict
from attnverify.verify import share
from tests.commands import run, started
from tests.house import ROOT

RIGHT = f"{ROOT}/examples/numpy_right.py:causal_attention"
WRONG = f"{ROOT}/examples/numpy_wrong.py:sees_one_future_key"

LYING = '''"""Attention that announces a failure which does not come."""
from attnverify.notation import attention
spec = attention("lying", announces={"permutation equivariance": "so it says"})
'''
BROKEN = '''"""A spec that does not load."""
from attnverify.notation import attention
spec = 1 / 0
'''
STOPPING = '''"""A subject during which somebody presses Ctrl-C."""
def attention(q, k, v):
    raise KeyboardInterrupt
'''


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder of its own, with a few spec files and subjects."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    for name, text in (("lying", LYING), ("broken", BROKEN), ("stopping", STOPPING)):
        (tmp_path / f"{name}.py").write_text(text)
    return tmp_path


def test_list_names_every_spec() -> None:
    result = run("list")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines] == attnverify.catalog()
    assert all(len(line.split()) > 3 for line in lines)
    rows = json.loads(run("list", "--json").stdout)
    assert [row["name"] for row in rows] == attnverify.catalog()
    assert all(row["description"] for row in rows)


@pytest.mark.parametrize(("words", "parts"), [
    (["causal"], ["Causal attention", "softmax_j(S[b,h,i,j] | j <= i)", "-> O"]),
    (["causal", "--gradient"], ["A[b,h,i,j] (dA[b,h,i,j] - D[b,h,i])", "-> dQ, dK, dV"]),
    (["causal", "--source"], ["def causal(", "return {"]),
    (["causal", "--gradient", "--source"], ["def causal_gradient(", "dQ"]),
    (["global", "--latex"], [r"\sum_{k} Q_{b h i k}"]),
    (["sliding_window", "--set", "window=4"], ["j >= i - 3"]),
    (["lying.py"], ["lying(", "announces a failure"]),
])  # fmt: skip
def test_show_prints_a_spec(words: list[str], parts: list[str]) -> None:
    result = run("show", *words)
    assert result.exit_code == 0, result.output
    for part in parts:
        assert part in result.stdout


@pytest.mark.parametrize(("words", "told"), [
    ("show gobal", "did you mean global"),
    ("show causal --set align=middle", "align"),
    ("show sliding_window --set windo=4", "did you mean window?"),
    ("show causal --set align", "--set takes NAME=VALUE (found: align)"),
    ("show causal --set a=1 --set a=2", "gives a parameter twice"),
    ("show no/such.py", "no spec file at this path"),
    ("show broken.py", "ZeroDivisionError"),
    ("verify gobal", "did you mean global"),
    ("verify causal --set nonsense=1", "nonsense"),
    ("verify causal --jobs 0", "--jobs"),
    ("verify causal --jobs two", "--jobs"),
    (f"check {RIGHT}", "--spec"),
    (f"check {RIGHT} --spec gobal", "did you mean global"),
    (f"check {RIGHT}l --spec causal", "did you mean causal_attention?"),
    ("check no_such_module:f --spec causal", "does not import"),
    ("check nothing --spec causal", "module:function"),
    ("check no.py:f --spec causal", "no file at this path"),
    (f"check {RIGHT} --spec causal --framework trch", "unknown framework"),
    (f"check {RIGHT} --spec causal --dtype float33", "float33"),
    (f"check {RIGHT} --spec causal --kwargs [1]", "--kwargs takes a JSON object"),
    (f"check {RIGHT} --spec causal --kwargs {{", "--kwargs takes a JSON object"),
    (f"check {RIGHT} --spec causal --inputs x", "--inputs takes a JSON object"),
    (f"check {RIGHT} --spec causal --replay none.npz", "cannot be read"),
    ("report none.json", "cannot be read"),
    ("report --store none", "cannot be read"),
    ("report broken.py", "not JSON"),
    ("report none.json --run 1", "from a file or from a run"),
    ("verfy", "verfy"),
    ("list --nonsense", "--nonsense"),
    ("verify causal --store broken.py", "cannot be made"),
])  # fmt: skip
def test_what_cannot_be_done_is_told_in_a_sentence_with_status_2(words: str, told: str) -> None:
    result = run(*words.split())
    assert result.exit_code == 2, result.output
    assert told in result.stderr
    assert result.stderr.strip().count("\n") <= 4


def test_verbose_shows_where_an_error_comes_from() -> None:
    result = run("show", "broken.py", "--verbose")
    assert result.exit_code == 2
    assert "Traceback" in result.stderr
    assert "ZeroDivisionError" in result.stderr


def test_without_a_word_there_is_help() -> None:
    assert "Usage" in run().output
    told = run("--help")
    assert told.exit_code == 0
    for word in ("list", "show", "verify", "check", "report"):
        assert f"  {word} " in told.stdout
    assert run("--version").stdout == f"attnverify {attnverify.__version__}\n"


def test_verify_stores_writes_and_passes(folder: Path) -> None:
    words = "verify local --set align=top_left --examples 3 --json out/r.json --html out/r.html"
    result = run(*words.split())
    assert result.exit_code == 0, result.output
    assert "PROVED" in result.stdout
    assert result.stdout.splitlines()[-3].endswith("ok")
    report = Report.from_json(folder / "out" / "r.json")
    assert report.ok
    assert report == store.read(folder / ".attnverify").report
    assert report.environment["attnverify"] == attnverify.__version__
    (section,) = report.sections
    assert section.spec == "local (align=top_left)"
    assert {"equations", "gradient", "source"} <= section.figures.keys()
    (announced,) = [verdict for verdict in section.verdicts if verdict.expected]
    assert announced.replay == "attnverify verify local --seed 0 --examples 3 --set align=top_left"
    assert f"◇ REFUTED, expected {announced.name}" in result.stdout
    assert "<math" in (folder / "out" / "r.html").read_text()


def test_verify_fails_where_a_spec_says_what_is_not_so(folder: Path) -> None:
    result = run("verify", "lying.py", "--examples", "2", "--store", "kept", "--quiet")
    assert result.exit_code == 1, result.output
    assert "◆ REFUTED  permutation equivariance" in result.stdout
    assert "so it says" in result.stdout
    assert "PROVED " not in result.stdout.partition("◆ REFUTED")[0]
    assert not store.read(folder / "kept").report.ok
    assert not (folder / ".attnverify").exists()
    again = run("report", "--store", "kept", "--json", "again.json")
    assert again.exit_code == 1
    assert Report.from_json(folder / "again.json") == store.read(folder / "kept").report


def test_verify_in_processes_gives_what_it_gives_alone(folder: Path) -> None:
    words = ("verify", "lying.py", "cross", "--examples", "2", "--quiet")
    alone = run(*words, "--jobs", "1", "--json", "alone.json")
    together = run(*words, "--jobs", "2", "--json", "together.json")
    assert (alone.exit_code, together.exit_code) == (1, 1), alone.output + together.output
    first, second = (
        timeless(Report.from_json(folder / f"{n}.json")) for n in ("alone", "together")
    )
    assert first == second
    assert [section["spec"] for section in first] == ["lying", "cross"]


def timeless(report: Report) -> list[dict[str, Any]]:
    """The sections of a report without the seconds."""
    sections: list[dict[str, Any]] = json.loads(report.to_json())["reports"]
    for section in sections:
        for verdict in section["verdicts"]:
            verdict["seconds"] = 0
    return sections


def test_check_passes_a_right_function() -> None:
    result = run("check", RIGHT, "--spec", "causal", "--cases", "6", "--json", "r.json")
    assert result.exit_code == 0, result.output
    assert "● HELD" in result.stdout
    report = Report.from_json("r.json")
    assert report.sections[0].subject == RIGHT
    assert [v.status for v in report.verdicts if v.name == "forward O (float32)"] == [Status.HELD]


def test_check_refutes_a_wrong_function_and_its_command_replays_it(folder: Path) -> None:
    result = run("check", WRONG, "--spec", "causal", "--json", "r.json", "--html", "r.html")
    assert result.exit_code == 1, result.output
    verdict = next(v for v in Report.from_json("r.json").verdicts if v.status is Status.REFUTED)
    assert verdict.witness is not None
    for part in ("smallest shape", "first wrong entry", "got ", "due ", "bound "):
        assert part in result.stdout
    for part in (verdict.witness.shape, verdict.witness.entry, repr(verdict.witness.got)):
        assert part in result.stdout
    assert verdict.replay in result.stdout.splitlines()
    program, *words = shlex.split(verdict.replay)
    assert program == "attnverify"
    again = run(*words)
    assert again.exit_code == 1
    assert repr(verdict.witness.due) in again.stdout
    mended = [RIGHT if word == WRONG else word for word in words]
    assert run(*mended).exit_code == 0
    assert len(list((folder / ".attnverify" / "witnesses").iterdir())) >= 1


def test_check_finds_a_module_where_the_user_stands(folder: Path) -> None:
    source = Path(RIGHT.partition(":")[0]).read_text(encoding="utf-8")
    (folder / "mine_here.py").write_text(source, encoding="utf-8")
    words = ("mine_here:causal_attention", "--spec", "causal", "--cases", "3", "--quiet")
    result = run("check", *words)
    assert result.exit_code == 0, result.output


def test_ctrl_c_leaves_the_partial_report_and_status_130(folder: Path) -> None:
    words = ("stopping.py:attention", "--spec", "global", "--no-isolate", "--json", "r.json")
    result = run("check", *words)
    assert result.exit_code == 130, result.output
    assert "interrupted" in result.stderr
    assert "interrupted" in Report.from_json("r.json").environment
    assert f"the verdicts so far are in .attnverify/{store.LINES}" in " ".join(
        result.stdout.split()
    )
    assert store.LINES in {path.name for path in (folder / ".attnverify").iterdir()}


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_ctrl_c_in_a_process_keeps_the_verdicts_so_far(folder: Path, jobs: str) -> None:
    specs = ["global", "causal", "cross", "biased"]
    words = ["verify", *specs, "--examples", "200", "--jobs", jobs, "--json", "r.json"]
    lines = folder / ".attnverify" / "verdicts.jsonl"
    deadline = time.monotonic() + 120
    with started(*words, stderr=subprocess.PIPE) as process:
        while not (lines.exists() and b'"verdict"' in lines.read_bytes()):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, out + err
    assert "Traceback" not in out + err
    assert "interrupted" in err
    assert Report.from_json(folder / "r.json").verdicts


def test_a_real_process_leaves_with_the_status() -> None:
    with started("show", "gobal", stderr=subprocess.PIPE) as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert err == "attnverify: no spec of this name (spec: gobal); did you mean global or local?\n"


def test_the_report_of_a_file_is_shown_again(folder: Path) -> None:
    report = Report((Section("causal", (Verdict("rows", Status.REFUTED, detail="\x1b[31m"),)),))
    report.to_json(folder / "r.json")
    result = run("report", "r.json", "--html", "page.html")
    assert result.exit_code == 1
    assert "‹U+001B›[31m" in result.stdout
    assert "‹U+001B›[31m" in (folder / "page.html").read_text()
    assert run("report", "r.json", "--quiet").stdout.count("rows") == 1


def test_the_certificates_of_a_report_are_checked_again(folder: Path) -> None:
    where = ("cross", "--examples", "2", "--jobs", "1", "--quiet")
    assert run("verify", *where, "--json", "r.json").exit_code == 0
    again = run("report", "r.json", "--recheck", "--quiet")
    assert again.exit_code == 0, again.output
    assert " 0 rejected" in again.stdout
    text = (folder / "r.json").read_text()
    (folder / "bent.json").write_text(text.replace("(law 0 positive", "(law 0 nonzero")
                                      .replace("(law 1 positive", "(law 1 nonzero"))  # fmt: skip
    bent = run("report", "bent.json", "--recheck", "--quiet")
    assert bent.exit_code == 1
    assert "REJECTED" in bent.stdout


def test_the_store_tells_a_line_that_was_cut_off(folder: Path) -> None:
    run_ = store.begin({}, {}, folder / ".attnverify")
    run_.append("causal", Verdict("rows", Status.HELD))
    run_.append("causal", Verdict("columns", Status.HELD))
    lines = folder / ".attnverify" / "verdicts.jsonl"
    lines.write_bytes(lines.read_bytes()[:-9])
    result = run("report")
    assert result.exit_code == 0
    assert "warning: line 3" in result.stdout
    assert "columns" not in result.stdout


def failing(error: Callable[[], BaseException]) -> Result:
    """What the command line makes of an error inside a command."""
    broken = typer.Typer(cls=Words, rich_markup_mode=None, pretty_exceptions_enable=False)

    @broken.command("word")
    def word() -> None:
        raise error()

    @broken.callback()
    def words() -> None:
        pass

    return CliRunner().invoke(broken, ["word"])


@pytest.mark.parametrize(("error", "told"), [
    (lambda: ZeroDivisionError("oh"), "attnverify itself failed: ZeroDivisionError: oh"),
    (lambda: PermissionError(13, "Permission denied", "there"), "Permission denied: there"),
    (lambda: SpecError("an index is unbound", index="j"), "an index is unbound (index: j)"),
    (lambda: MissingExtraError("judging", extra="torch"), 'pip install "attnverify[torch]"'),
    (lambda: RecursionError("deep"), "RecursionError"),
])  # fmt: skip
def test_an_error_inside_leaves_as_a_sentence(error: Callable[[], Exception], told: str) -> None:
    result = failing(error)
    assert result.exit_code == 2
    assert told in result.stderr
    assert "Traceback" not in result.output


def test_ctrl_c_before_anything_is_judged_has_its_status() -> None:
    result = failing(KeyboardInterrupt)
    assert result.exit_code == 130
    assert result.stderr == "attnverify: interrupted\n"


@pytest.mark.parametrize(("pairs", "due"), [
    (None, {}),
    (["a=1"], {"a": 1}),
    (["a=1.5", "b=true"], {"a": 1.5, "b": True}),
    (["c=x y", "d=", "e=a=b"], {"c": "x y", "d": "", "e": "a=b"}),
    (["a=NaN"], {"a": "NaN"}),
    ([" a = 2 "], {"a": 2}),
])  # fmt: skip
def test_set_reads_values(pairs: list[str] | None, due: dict[str, Any]) -> None:
    assert settings(pairs) == due


@pytest.mark.parametrize("pair", ["a", "=1", " =1", ""])
def test_set_refuses_what_is_no_pair(pair: str) -> None:
    with pytest.raises(UsageError):
        settings([pair])


def test_json_options_are_objects() -> None:
    assert mapping(None, "--kwargs") is None
    assert mapping('{"a": [1]}', "--kwargs") == {"a": [1]}
    with pytest.raises(UsageError):
        mapping("[" * 100_000, "--kwargs")


def test_a_task_tells_its_own_command() -> None:
    task = Task("my spec.py", {"window": 4, "align": "top left", "on": True}, 7, 3)
    words = shlex.split(task.command())
    assert words[:4] == ["attnverify", "verify", "my spec.py", "--seed"]
    assert (
        settings([words[at + 1] for at, word in enumerate(words) if word == "--set"]) == task.values
    )


def test_each_member_of_a_family_is_a_task_with_its_share_of_cases() -> None:
    tasks = list(tasks_of("causal", {}, 3, None))
    assert [task.title for task in tasks] == [title for title, _ in members("causal", {})]
    assert {task.examples for task in tasks} == {share(len(tasks))}
    for task in tasks:
        words = shlex.split(task.command())
        given = settings([words[at + 1] for at, word in enumerate(words) if word == "--set"])
        assert [title for title, _ in members("causal", given)] == [task.title]
    assert next(task.examples for task in tasks_of("global", {}, 0, 7)) == 7


def test_sections_come_in_the_order_of_tasks_whichever_is_begun_first(folder: Path) -> None:
    tasks = [
        replace(task, weight=weight)
        for name, weight in (("cross", 0), ("linear_rnn", 1))
        for task in list(tasks_of(name, {}, 0, 2))[:1]
    ]
    begun: list[str] = []
    run_ = store.begin({}, {}, folder / ".attnverify")
    with processes(run_, 2) as engine:
        done = judged(tasks, engine, lambda at_work, _: begun.extend(t.title for t in at_work))
        titles = [report.sections[0].spec for _, report in done]
    assert titles == [task.title for task in tasks]
    assert begun[0] == tasks[1].title


def test_help_loads_nothing_heavy() -> None:
    program = "import sys, attnverify.cli; print(' '.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    loaded = set(done.stdout.split())
    assert "typer" in loaded
    assert not loaded & {"numpy", "sympy", "scipy", "jinja2", "latex2mathml", "torch", "jax", "z3"}


def test_a_report_is_written_in_the_forms_asked_for(tmp_path: Path) -> None:
    kept = tmp_path / "report.json"
    attnverify.verify("global", examples=40).to_json(kept)
    forms = [f"--write={tmp_path}/{name}" for name in ("r.xml", "r.md", "r.sarif")]
    found = run("report", str(kept), *forms, "--write", "markdown:-")
    assert found.exit_code == 0
    assert "## attnverify: no failure" in found.output
    assert {"r.xml", "r.md", "r.sarif"} <= {path.name for path in tmp_path.iterdir()}


def test_a_form_that_is_not_known_is_told_before_anything_is_judged() -> None:
    found = run("check", "nowhere:f", "--spec", "global", "--write", "results.txt")
    assert found.exit_code == 2
    assert "the form of the file is not known" in found.output
