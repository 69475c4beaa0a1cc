"""Text from anywhere, made safe to show: what a terminal or a page would obey becomes visible."""

from __future__ import annotations

import re

from attnverify.verdict import Report, Section, Status, Verdict

# Control characters, marks that turn the direction of text, and halves of characters.
_OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)
LONGEST = 2000
CITED = 2


def clean(text: object, longest: int = LONGEST) -> str:
    r"""The text with every character that is obeyed rather than shown written out by its number.

    >>> clean("a\x1b[31mb\u202ec")
    'a‹U+001B›[31mb‹U+202E›c'
    """
    told = "" if text is None else str(text).replace("\r\n", "\n")
    if len(told) > longest:
        told = f"{told[:longest]}… ({len(told) - longest} more characters)"
    return _OBEYED.sub(lambda found: f"‹U+{ord(found[0]):04X}›", told)


def line(text: object, longest: int = LONGEST) -> str:
    """The same on one line."""
    return " ".join(clean(text, longest).split())


def reach(verdict: Verdict) -> str:
    """How far a verdict goes: its cases and its scope.

    >>> reach(Verdict("rows sum to one", Status.HELD, cases=1))
    '1 case'
    """
    cases = "" if verdict.cases is None else f"{verdict.cases} case{'s' * (verdict.cases != 1)}"
    return ", ".join(part for part in (cases, line(verdict.scope)) if part)


def explanations(verdict: Verdict) -> list[tuple[str, str]]:
    """What explains a failure, labelled: each computation with its evidence and who had the bug.

    >>> found = {"explained": [{"sentence": "computes half", "evidence": "agrees on 9 of 9"}]}
    >>> explanations(Verdict("forward O", Status.REFUTED, evidence=found))
    [('the subject', 'computes half (agrees on 9 of 9)')]
    """
    found = verdict.evidence.get("explained")
    told: list[tuple[str, str]] = []
    for at, one in enumerate(found if isinstance(found, list) else []):
        if not isinstance(one, dict):
            continue
        sentence, evidence = (line(one.get(key, "")) for key in ("sentence", "evidence"))
        told.append(("or, as well," if at else "the subject", f"{sentence} ({evidence})"))
        cited = one.get("citations")
        listed = cited if isinstance(cited, list) else []
        if not at:
            told += [("seen in", line(citation)) for citation in listed[:CITED]]
            bugs = one.get("bugs")
            known = bugs[:1] if isinstance(bugs, list | tuple) else []
            told += [("more", f"attnverify explain {line(bug)}") for bug in known]
    missing = verdict.evidence.get("unexplained")
    return told or ([("cause", line(missing))] if isinstance(missing, str) else [])


def told(verdict: Verdict) -> str:
    r"""All that a failure has to say, line by line: detail, witness, what explains it, replay.

    >>> told(Verdict("forward O", Status.REFUTED, "differs", replay="attnverify check f"))
    'REFUTED: differs\nreplay: attnverify check f'
    """
    head = f"{verdict.status.value}: {clean(verdict.detail)}" if verdict.detail else ""
    parts = verdict.witness.parts() if verdict.witness else {}
    lines = [head or verdict.status.value, *(f"{name}: {clean(v)}" for name, v in parts.items())]
    lines += [f"{label}: {words}" for label, words in explanations(verdict)]
    # Cut short, a command cannot be pasted.
    lines += [f"replay: {clean(verdict.replay, len(verdict.replay))}"] if verdict.replay else []
    return "\n".join(lines)


def title(section: Section) -> str:
    """What a section is about: a spec, or a subject against one."""
    spec = line(section.spec)
    return f"{line(section.subject)} against {spec}" if section.subject else spec


def worst_first(section: Section) -> list[Verdict]:
    """The verdicts of a section: failures, what is undecided, and the rest, each in order."""

    def rank(verdict: Verdict) -> int:
        return 0 if section.fails(verdict) else 1 if verdict.status is Status.UNDECIDED else 2

    return sorted(section.verdicts, key=rank)


def counts(report: Report) -> dict[str, int]:
    """How many verdicts there are of each kind; a REFUTED that is expected is a kind of its own."""
    found = dict.fromkeys([*(status.value for status in Status), "expected"], 0)
    for verdict in report.verdicts:
        found[kind(verdict)] += 1
    return found


def kind(verdict: Verdict) -> str:
    """The status in one word, with an expected failure told apart from one that is not."""
    announced = verdict.status is Status.REFUTED and verdict.expected
    return "expected" if announced else verdict.status.value
