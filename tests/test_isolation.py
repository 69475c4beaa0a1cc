"""Subjects in a process of their own: every way to misbehave has a verdict in words."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import attnverify as av
from attnverify.errors import ParameterError, SubjectError
from attnverify.subjects import SubjectGone, plan
from attnverify.subjects.isolated import Isolated, named, process_of
from attnverify.subjects.protocol import BrokenMessageError, receive, send
from attnverify.verdict import Report, Status, Verdict
from tests import hostile

Array = npt.NDArray[Any]
HERE = Path(hostile.__file__)
FORWARD = "forward O (float32)"
EMPTY = "empty axes (float32)"


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    hostile.forget()


def judged(fn: Any, **settings: Any) -> Report:
    return av.check(
        fn,
        "global",
        **{"isolate": True, "cases": 9, "time_limit": 20.0, "explain": False, **settings},
    )


def statuses(report: Report) -> dict[str, str]:
    return {verdict.name: verdict.status.value for verdict in report.verdicts}


def named_verdict(report: Report, name: str) -> Verdict:
    return next(verdict for verdict in report.verdicts if verdict.name == name)


# A right subject


@pytest.mark.parametrize(
    ("fn", "vjp"),
    [
        (hostile.right, hostile.right_vjp),
        (hostile.right, hostile.wrong_vjp),
        (hostile.right, None),
        (hostile.traced, None),
        (hostile.unscaled, hostile.right_vjp),
    ],
)
def test_verdicts_are_those_of_a_subject_in_this_process(
    fn: Callable[..., Any], vjp: Callable[..., Any] | None
) -> None:
    apart, here = judged(fn, vjp=vjp), judged(fn, vjp=vjp, isolate=False)
    # Axes of size zero are asked where a crash ends the subject alone.
    same = [v for v in apart.verdicts if v.name != EMPTY]
    assert [(v.name, v.status) for v in same] == [(v.name, v.status) for v in here.verdicts]
    assert [v.evidence for v in same] == [v.evidence for v in here.verdicts]
    assert [v.detail for v in same] == [v.detail for v in here.verdicts]


def test_a_right_subject_is_held() -> None:
    found = statuses(judged(hostile.right, vjp=hostile.right_vjp))
    assert found.pop(EMPTY) == "UNDECIDED"
    assert set(found.values()) == {"HELD"}


def test_sixteen_bits_layouts_and_arguments_pass_to_the_process() -> None:
    how: dict[str, Any] = {
        "dtypes": ("float64", "bfloat16"), "layout": {"Q": "h b n d"},
        "kwargs": {"cap": hostile.Cap()}, "cases": 4,
    }  # fmt: skip
    fn = hostile.with_cap_heads_first
    apart, here = judged(fn, **how), judged(fn, isolate=False, **how)
    assert {n: s for n, s in statuses(apart).items() if "empty" not in n} == statuses(here)
    assert statuses(apart)["forward O (float64)"] == "HELD"
    assert statuses(apart)["forward O (bfloat16)"] == "HELD"


# Misbehaviour: what it does, which verdict tells it, words

CASES: list[tuple[Callable[..., Any], str, str]] = [
    (hostile.exits, FORWARD, "ended its process with exit status 0 in place of an answer"),
    (hostile.exits_politely, FORWARD, "raised SystemExit: 3"),
    (hostile.reads_nowhere, FORWARD, "crashed: its process was ended by SIGSEGV"),
    (hostile.divides_by_zero, FORWARD, "crashed: its process was ended by SIGFPE"),
    (hostile.crashes_on_many_keys, FORWARD, "keys=4 value_dim=1: the subject crashed"),
    (hostile.not_a_number, FORWARD, "entries are NaN or infinite where a finite value is due"),
    (hostile.wrong_shape, FORWARD, "shape (1, 1, 1, 1, 1), due (1, 1, 1, 1)"),
    (hostile.wrong_dtype, FORWARD, "dtype float64, due float32"),
    (hostile.objects, FORWARD, "dtype object, due float32"),
    (hostile.words, FORWARD, "dtype object, due float32"),
    (hostile.nothing, FORWARD, "returned a builtins.NoneType for O, due a NumPy array"),
    (hostile.values_themselves, FORWARD, "shape (1, 1, 2, 1), due (1, 1, 1, 1)"),
    (hostile.changes_its_input, FORWARD, "changed its input K in place"),
    (hostile.multiples_of_16, FORWARD, "entries fail"),
    (hostile.tampers, FORWARD, "entries fail"),
    (hostile.lies, FORWARD, "entries fail"),
    (hostile.tells_another_shape, FORWARD, "entries fail"),
    (hostile.masked_array, FORWARD, "entries fail"),
    (hostile.one_entry_for_all, FORWARD, "shape (1, 1, 1, 1), due (1, 1, 1, 2)"),
    (
        hostile.writes_to_earlier_inputs,
        "second call (float32)",
        "changed its input K of an earlier call in place",
    ),
    (hostile.answers_by_shape, "second call (float32)", "wrong on a second one of the same sizes"),
    (hostile.keeps_its_buffer, "earlier outputs (float32)", "O of an earlier call changed"),
    (hostile.contiguous_alone, "strided inputs (float32)", "wrong on strided ones"),
    (hostile.ends_on_nothing, EMPTY, "with no batch the subject crashed: its process was ended"),
    (hostile.one_row_for_nothing, EMPTY, "with no batch the answer has shape (1, 1, 1, 1), due"),
    (hostile.doubles_for_nothing, EMPTY, "with no batch the answer has dtype float64, due float32"),
]


@pytest.mark.parametrize(("fn", "name", "words"), CASES, ids=[c[0].__name__ for c in CASES])
def test_misbehaviour_is_refuted_in_words_and_replays(
    fn: Callable[..., Any], name: str, words: str
) -> None:
    cases = 18 if fn is hostile.multiples_of_16 else 9
    verdict = named_verdict(judged(fn, cases=cases), name)
    assert verdict.status is Status.REFUTED
    assert words in verdict.detail
    assert verdict.witness is not None
    assert verdict.witness.path is not None
    again = named_verdict(judged(fn, replay=verdict.witness.path), name)
    assert again.status is Status.REFUTED
    assert words.rpartition(":")[2].strip() in again.detail


IN_PROCESS = [c for c in CASES if c[0].__name__ in {
    "answers_by_shape", "keeps_its_buffer", "contiguous_alone", "changes_its_input", "lies",
    "words", "not_a_number", "wrong_shape", "wrong_dtype", "nothing", "values_themselves",
    "multiples_of_16",
    "tells_another_shape", "masked_array", "one_entry_for_all", "writes_to_earlier_inputs",
}]  # fmt: skip


@pytest.mark.parametrize(
    ("fn", "name", "words"), IN_PROCESS, ids=[c[0].__name__ for c in IN_PROCESS]
)
def test_what_needs_no_process_is_noticed_without_one(
    fn: Callable[..., Any], name: str, words: str
) -> None:
    verdict = named_verdict(judged(fn, isolate=False, vjp=hostile.right_vjp), name)
    assert verdict.status is Status.REFUTED
    assert (words if fn is not hostile.words else "dtype") in verdict.detail


@pytest.mark.parametrize("isolate", [True, False])
def test_strides_that_are_refused_loudly_are_told_and_not_refuted(isolate: bool) -> None:
    report = judged(hostile.refuses_strides, isolate=isolate)
    assert report.ok
    verdict = named_verdict(report, "strided inputs (float32)")
    assert verdict.status is Status.UNDECIDED
    assert "contiguous arrays only" in verdict.detail


@pytest.mark.parametrize("isolate", [True, False])
def test_a_view_of_an_input_is_told(isolate: bool) -> None:
    fn = hostile.values_where_there_is_one_key
    report = judged(fn, isolate=isolate, sizes={"queries": 1, "keys": 1})
    verdict = named_verdict(report, "views of inputs (float32)")
    assert verdict.status is Status.UNDECIDED
    assert "O lies in the memory of V" in verdict.detail


def test_what_a_subject_prints_is_not_read(capfd: pytest.CaptureFixture[str]) -> None:
    assert statuses(judged(hostile.prints, cases=3))[FORWARD] == "HELD"
    out, err = capfd.readouterr()
    assert "hello from the subject" not in out
    assert "hello from the subject" in err


def test_noise_on_the_line_is_refuted_and_not_believed() -> None:
    verdict = named_verdict(judged(hostile.writes_to_every_pipe, cases=3), FORWARD)
    assert verdict.status is Status.REFUTED
    assert "sent what is no reply" in verdict.detail


def test_a_subject_cannot_touch_the_judge() -> None:
    before = np.allclose, np.array_equal, np.random.default_rng, np.abs
    state = repr(np.random.get_state())  # noqa: NPY002  the state that a subject might seed
    judged(hostile.tampers, cases=3)
    assert before == (np.allclose, np.array_equal, np.random.default_rng, np.abs)
    assert repr(np.random.get_state()) == state  # noqa: NPY002


# Limits


def test_a_subject_that_never_answers_costs_its_limit_once() -> None:
    began = time.monotonic()
    verdict = named_verdict(judged(hostile.sleeps, time_limit=1.5), FORWARD)
    assert verdict.status is Status.REFUTED
    assert "gave no answer within 1.5 s and was ended" in verdict.detail
    assert time.monotonic() - began < 15
    assert verdict.witness is not None
    assert verdict.replay is not None
    assert "--isolate --time-limit 1.5" in verdict.replay
    again = judged(hostile.sleeps, time_limit=1.0, replay=verdict.witness.path)
    assert "within 1 s" in named_verdict(again, FORWARD).detail


def test_the_run_goes_on_after_a_hang() -> None:
    verdict = named_verdict(judged(hostile.sleeps_on_many_keys, time_limit=1.0), FORWARD)
    assert verdict.status is Status.REFUTED
    assert verdict.cases is not None
    assert verdict.cases > 3
    assert verdict.witness is not None
    assert verdict.witness.sizes["keys"] > 60


def test_memory_is_limited() -> None:
    verdict = named_verdict(judged(hostile.allocates, memory_limit=256), FORWARD)
    assert verdict.status is Status.REFUTED
    assert "MemoryError" in verdict.detail
    assert "memory_limit allows it 256 MiB" in verdict.detail


@pytest.mark.parametrize("limits", [{"time_limit": 0.0}, {"memory_limit": -1}])
def test_limits_that_leave_nothing_are_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(ParameterError, match="leaves nothing"):
        judged(hostile.right, **limits)


def test_a_crash_in_the_backward_alone_leaves_the_forward_held() -> None:
    report = judged(hostile.right, vjp=hostile.crashing_vjp)
    assert "when a gradient is asked for" not in named_verdict(report, FORWARD).detail
    assert statuses(report) == {FORWARD: "HELD"} | {
        f"backward d{name} (float32)": "REFUTED" for name in "QKV"
    }
    assert "SIGSEGV" in named_verdict(report, "backward dQ (float32)").detail


SLOPES: list[tuple[Callable[..., Any], str]] = [
    (hostile.sleeping_vjp, "gave no answer within 1.5 s and was ended"),
    (hostile.leaving_vjp, "ended its process with exit status 0 in place of an answer"),
    (hostile.vjp_by_the_first_cotangent, "entries fail"),
]


@pytest.mark.parametrize(("vjp", "words"), SLOPES, ids=[vjp.__name__ for vjp, _ in SLOPES])
def test_a_backward_pass_that_misbehaves_is_refuted_in_words(
    vjp: Callable[..., Any], words: str
) -> None:
    # What keeps a cotangent shows where shapes come twice, as they do among all cases.
    cases = None if vjp is hostile.vjp_by_the_first_cotangent else 9
    report = judged(hostile.right, vjp=vjp, time_limit=1.5, cases=cases)
    # A hang ends the drawing after one small case, which would have caught nothing.
    assert statuses(report)[FORWARD] == ("UNDECIDED" if vjp is hostile.sleeping_vjp else "HELD")
    verdict = named_verdict(report, "backward dQ (float32)")
    assert verdict.status is Status.REFUTED
    assert words in verdict.detail


def test_a_fresh_process_takes_the_next_call_and_an_end_is_remembered() -> None:
    spec = av.load("global")
    call = plan(spec)
    with process_of(hostile.crashes_on_many_keys, call, "numpy") as process:
        answers = Isolated(call, process)
        small = {name: np.ones((1, 1, 2, 3), np.float32) for name in "QKV"}
        large = {name: np.ones((1, 1, 5, 3), np.float32) for name in "QKV"}
        for _ in range(2):
            assert answers.forward(small, {})["O"].shape == (1, 1, 2, 3)
            with pytest.raises(SubjectGone, match="SIGSEGV"):
                answers.forward(large, {})
        assert len(process.ended) == 1


def test_a_started_process_ends_with_its_judge() -> None:
    call = plan(av.load("global"))
    with process_of(hostile.right, call, "numpy") as process:
        number = process.number
    assert number is not None
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)


# Names


@pytest.mark.parametrize(
    "fn",
    [hostile.inner(), hostile.unnamed[0], partial(hostile.right)],
    ids=["closure", "lambda", "partial"],
)
def test_what_has_no_name_is_refused_in_words(fn: Callable[..., Any]) -> None:
    with pytest.raises(SubjectError, match="isolated by its name, and this one has none"):
        judged(fn)


def test_names_are_those_that_another_process_finds(tmp_path: Path) -> None:
    assert named(hostile.right) == "tests.hostile:right"
    assert named("x.py:f") == "x.py:f"


def test_files_of_one_name_and_files_run_twice_are_told_apart(tmp_path: Path) -> None:
    found = []
    for folder in ("one", "another", "one"):
        file = tmp_path / folder / "mine.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"def f(q, k, v):\n    return v, {folder!r}\n", encoding="utf-8")
        found.append((av.library.resolve_subject(f"{file}:f"), f"{file.resolve()}:f"))
    assert [named(fn) for fn, _ in found] == [name for _, name in found]


SCRIPTS = {
    "guarded": "if __name__ == '__main__':\n    {call}\n    print('judged')\n",
    "unguarded": "{call}\n",
}


@pytest.mark.parametrize(("how", "code", "words"), [
    ("guarded", 0, "judged"), ("unguarded", 1, "put the script's calls under"),
])  # fmt: skip
def test_a_script_judges_its_own_function(tmp_path: Path, how: str, code: int, words: str) -> None:
    call = "av.check(right, 'global', isolate=True, cases=2).raise_if_refuted()"
    source = f"import attnverify as av\nfrom tests.hostile import softmax\n{RIGHT}\n"
    (tmp_path / "script.py").write_text(source + SCRIPTS[how].format(call=call), encoding="utf-8")
    done = ran(str(tmp_path / "script.py"))
    assert done.returncode == code, done.stderr
    assert words in done.stdout + done.stderr


RIGHT = """
def right(q, k, v):
    return softmax(q @ k.swapaxes(-1, -2) / q.shape[-1] ** 0.5) @ v
"""


def ran(*words: str) -> subprocess.CompletedProcess[str]:
    places = [str(HERE.parent.parent), *sys.path]
    return subprocess.run(
        [sys.executable, *words],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(places)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_an_interactive_session_has_no_names() -> None:
    program = (
        "import attnverify as av\ndef f(q, k, v): return v\nav.check(f, 'global', isolate=True)"
    )
    done = ran("-c", program)
    assert done.returncode == 1
    assert "an interactive session has none" in done.stderr


LOADING = [
    ("import ctypes; ctypes.string_at(0)", "does not load.*SIGSEGV"),
    ("import os; os._exit(4)", "does not load.*exit status 4"),
    ("1 / 0", "does not import.*ZeroDivisionError"),
    ("", "lacks this function"),
]


@pytest.mark.parametrize(("source", "words"), LOADING, ids=[words for _, words in LOADING])
def test_a_subject_that_does_not_load_is_an_error_in_words(
    tmp_path: Path, source: str, words: str
) -> None:
    (tmp_path / "broken.py").write_text(source, encoding="utf-8")
    with pytest.raises(SubjectError, match=f"(?s){words}"):
        judged(f"{tmp_path}/broken.py:f")


def test_an_argument_that_cannot_be_sent_is_refused() -> None:
    with pytest.raises(SubjectError, match="cannot be sent"):
        judged(hostile.right, kwargs={"f": lambda: 0})


# The protocol


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int64", "bool", "complex64"])
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3)])
def test_arrays_come_back_with_the_same_bits(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.arange(6)[: prod(shape)].reshape(shape).astype(np.dtype(dtype))
    stream = io.BytesIO()
    send(stream, {"told": np.float32(0.5)}, {"output O": array})
    stream.seek(0)
    header, found = receive(stream, 2**20)
    assert header == {"told": 0.5}
    assert found["output O"].dtype == array.dtype
    assert found["output O"].shape == shape
    assert found["output O"].tobytes() == array.tobytes()
    assert found["output O"].flags.writeable


def message(header: str, rest: bytes = b"") -> bytes:
    return len(header).to_bytes(8, "big") + header.encode() + rest


ENTRY = '{"name": "output O", "shape": %s, "dtype": "%s", "raw": true}'
BROKEN: list[tuple[bytes, type[Exception]]] = [
    (b"", EOFError),
    (b"\xff" * 8, BrokenMessageError),
    (message("{}"), BrokenMessageError),
    (message("[1]"), BrokenMessageError),
    (message("not JSON"), BrokenMessageError),
    (message('{"arrays": [%s]}' % (ENTRY % ("[4]", "float32")), b"1234"), EOFError),
    (message('{"arrays": [%s]}' % (ENTRY % ("[-4]", "float32"))), BrokenMessageError),
    (message('{"arrays": [%s]}' % (ENTRY % ("[4]", "object"))), BrokenMessageError),
    (message('{"arrays": [%s]}' % (ENTRY % ("[1000000000]", "float32"))), BrokenMessageError),
]


@pytest.mark.parametrize(("sent", "kind"), BROKEN)
def test_what_is_no_message_is_refused(sent: bytes, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        receive(io.BytesIO(sent), 2**20)


def test_the_process_imports_nothing_that_judges() -> None:
    program = (
        "import sys, attnverify.subjects.worker, attnverify.subjects.numpy\n"
        "heavy = ('sympy', 'attnverify.check', 'attnverify.compile', 'attnverify.provers')\n"
        "sys.exit(', '.join(name for name in heavy if name in sys.modules) or 0)"
    )
    done = ran("-c", program)
    assert done.returncode == 0, done.stderr


# The command line


def test_a_file_is_isolated_unless_told_otherwise(tmp_path: Path) -> None:
    source = "import os\ndef f(q, k, v):\n    os._exit(0)\n"
    (tmp_path / "leaves.py").write_text(source, encoding="utf-8")
    words = ("-m", "attnverify", "check", "leaves.py:f", "--spec", "global")
    done = ran(*words, "--memory-limit", "2000", "--time-limit", "9")
    assert done.returncode == 1
    assert "exit status 0 in place of an answer" in " ".join(done.stdout.split())
    assert "--isolate --time-limit 9 --memory-limit 2000 --replay" in " ".join(done.stdout.split())
    gone = ran(*words, "--no-isolate")
    assert gone.returncode == 0
    assert "REFUTED" not in gone.stdout


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_ends_an_isolated_subject(tmp_path: Path) -> None:
    source = "import os, time\ndef f(q, k, v):\n    open('pid', 'w').write(str(os.getpid()))\n"
    (tmp_path / "waits.py").write_text(source + "    time.sleep(600)\n", encoding="utf-8")
    words = [sys.executable, "-m", "attnverify", "check", "waits.py:f", "--spec", "global"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        until = time.monotonic() + 60
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text("ascii"):
            assert time.monotonic() < until
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert process.returncode == 130
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text("ascii")), 0)
