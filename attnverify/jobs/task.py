"""One job: a member of a spec's family to be verified, wherever it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from json import dumps
from shlex import join
from typing import TYPE_CHECKING, Any

from attnverify.cache import Cache
from attnverify.jobs.key import key_of, member_key
from attnverify.store import Run
from attnverify.verdict import Report, Section, Status, Verdict

if TYPE_CHECKING:
    from attnverify.verify import OnVerdict

# So many equations make a spec one that takes long.
HEAVY = 24


@dataclass(frozen=True)
class Task:
    """One member of a spec's family to be verified, with all that its verdicts depend on.

    Tasks of more weight are begun first, so that none is left for the end. The `first` member of a
    family is the one that its page shows most of. `content` is the key of
    what the verdicts depend on; empty where that cannot be told.
    """

    spec: str
    values: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    examples: int | None = None
    title: str = ""
    weight: int = 0
    first: bool = False
    content: str = ""

    def command(self) -> str:
        """The command that verifies it again."""
        words = ["attnverify", "verify", self.spec, "--seed", str(self.seed)]
        if self.examples is not None:
            words += ["--examples", str(self.examples)]
        return join([*words, *assignments(self.values)])


def assignments(values: Mapping[str, Any]) -> list[str]:
    """Parameter values as words of a command line.

    >>> assignments({"window": 4, "align": "top_left"})
    ['--set', 'window=4', '--set', 'align=top_left']
    """
    told = {
        name: value if isinstance(value, str) else dumps(value) for name, value in values.items()
    }
    return [word for name, value in told.items() for word in ("--set", f"{name}={value}")]


def tasks_of(name: str, values: dict[str, Any], seed: int, examples: int | None) -> Iterator[Task]:
    """A task for each member that a name stands for."""
    from attnverify.library import selections  # noqa: PLC0415  specs need SymPy, what is reused does not
    from attnverify.verify import share  # noqa: PLC0415  as above

    found = list(selections(name, values))
    for at, member in enumerate(found):
        weight = len(list(member.spec.expressions())) // HEAVY
        cases = examples or share(len(found))
        yield Task(name, dict(member.values), seed, cases, member.title, weight, at == 0)


def planned(
    name: str,
    values: dict[str, Any],
    seed: int,
    examples: int | None,
    *,
    cache: Cache,
    fresh: bool = False,
) -> list[Task]:
    """The tasks of a name, from the cache where it has them, unless they are to be found `fresh`.

    Raises LoadError or ParameterError where the spec does not load.
    """
    key, _ = key_of(name, values, seed, examples)
    kept = cache.get(key) if key and not fresh else None
    if kept is not None:
        return [Task(**row) for row in kept["tasks"]]
    from attnverify.library import load  # noqa: PLC0415  specs need SymPy, what is reused does not

    # The members of a family leave out what some of them refuse; this one says why.
    load(name, **values)
    found = [
        replace(task, content=member_key(key, task.title))
        for task in tasks_of(name, values, seed, examples)
    ]
    rows = [asdict(task) for task in found]
    if key:
        cache.put(key, {"tasks": rows})
    return found


def verified(task: Task, on_verdict: OnVerdict | None = None) -> Report:
    """Verify one member; what is refuted tells the command that verifies it again."""
    import z3  # noqa: PLC0415  heavy modules load in the process that judges

    from attnverify.illustrated import illustrated  # noqa: PLC0415  as above
    from attnverify.library import load  # noqa: PLC0415  as above
    from attnverify.verify import verify  # noqa: PLC0415  as above

    # By itself z3 takes Ctrl-C for its own: the run would go on, with "unknown" for an answer.
    z3.set_param("ctrl_c", False)  # noqa: FBT003  z3's own form

    def take(title: str, verdict: Verdict) -> None:
        if on_verdict is not None:
            on_verdict(title, _replayed(verdict, task))

    report = verify(
        task.spec, examples=task.examples, seed=task.seed, on_verdict=take, **task.values
    )
    spec = load(task.spec, **task.values)
    sections = (
        illustrated(
            replace(each, verdicts=tuple(_replayed(verdict, task) for verdict in each.verdicts)),
            spec,
            whole=task.first,
        )
        for each in report.sections
    )
    return replace(report, sections=tuple(sections))


def _replayed(verdict: Verdict, task: Task) -> Verdict:
    if verdict.status is not Status.REFUTED or verdict.replay:
        return verdict
    return replace(verdict, replay=task.command())


def judge(task: Task, run: Run) -> Report:
    """Verify one member and append each verdict to the run as it comes, with its witness."""
    attempt = run.opened(task.title)
    streamed: list[Verdict] = []

    def take(title: str, verdict: Verdict) -> None:
        streamed.append(verdict)
        attempt.append(title, attempt.keep(title, verdict))

    return _ended(task, verified(task, take), attempt, streamed)


def recorded(task: Task, report: Report, run: Run) -> Report:
    """The report of a task that was verified elsewhere, appended to the run."""
    return _ended(task, report, run.opened(task.title), [])


def _ended(task: Task, report: Report, attempt: Run, streamed: list[Verdict]) -> Report:
    """The report as it is kept, and the run with all of it."""
    attempt.note(report.environment)
    sections = tuple(_kept(section, attempt) for section in report.sections)
    for section in sections:
        attempt.finish(section, streamed, task.content)
    return replace(report, sections=sections)


def _kept(section: Section, run: Run) -> Section:
    """A section with its witnesses' arrays in the store."""
    verdicts = tuple(run.keep(section.spec, verdict) for verdict in section.verdicts)
    return replace(section, verdicts=verdicts)
