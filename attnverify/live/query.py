"""What a request may say: each key once, each value of a known form; all else is refused."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from http import HTTPStatus
from urllib.parse import parse_qsl

from attnverify.report.words import line

LONGEST, MOST = 4000, 60
SHOWN = 60
WHOLE = re.compile(r"-?[0-9]{1,6}", re.ASCII)
DECIMAL = re.compile(r"-?[0-9]{1,6}(\.[0-9]{1,6})?", re.ASCII)


class Refused(Exception):  # noqa: N818  what was asked is refused; nothing went wrong
    """A request that is not answered: its status, and one sentence that says why."""

    def __init__(self, sentence: str, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(sentence)
        self.sentence, self.status = sentence, status


def told(value: str) -> str:
    """A value as a sentence cites it.

    >>> told("a" * 100)[-20:]
    '(40 more characters)'
    """
    return line(value, SHOWN)


@dataclass
class Query:
    """The fields of a request, taken one by one; what nobody takes is refused at the end."""

    fields: dict[str, str]

    @classmethod
    def read(cls, text: str) -> Query:
        """The fields of a query string; Refused where it is malformed or names a key twice."""
        if len(text) > LONGEST:
            raise Refused(f"the address is longer than {LONGEST} characters")
        try:
            pairs = parse_qsl(
                text, keep_blank_values=True, strict_parsing=bool(text), max_num_fields=MOST,
                errors="strict",
            )  # fmt: skip
        except ValueError:
            raise Refused("the address has a query that cannot be read") from None
        fields: dict[str, str] = {}
        for key, value in pairs:
            if key in fields:
                raise Refused(f"'{told(key)}' is given twice")
            fields[key] = value
        return cls(fields)

    def word(self, key: str, options: Sequence[str], usual: str) -> str:
        """One of several words; Refused for any other."""
        found = self.fields.pop(key, usual)
        if found not in options:
            due = ", ".join(option or "nothing" for option in options[:12])
            raise Refused(f"'{told(key)}' is one of {due}; found '{told(found)}'")
        return found

    def whole(self, key: str, low: int, high: int, usual: int, step: int = 1) -> int:
        """A whole number within limits; Refused for anything else."""
        text = self.fields.pop(key, str(usual))
        if not WHOLE.fullmatch(text) or not low <= int(text) <= high or int(text) % step:
            of = "" if step == 1 else f" that is a multiple of {step}"
            raise Refused(
                f"'{told(key)}' is a whole number from {low} to {high}{of}; found '{told(text)}'"
            )
        return int(text)

    def decimal(self, key: str, usual: Fraction) -> Fraction:
        """A decimal number of few digits; Refused for anything else."""
        text = self.fields.pop(key, None)
        if text is None:
            return usual
        if not DECIMAL.fullmatch(text):
            raise Refused(f"'{told(key)}' is a number such as 0.5; found '{told(text)}'")
        return Fraction(text)

    def ended(self) -> None:
        """Refused where something is left that nobody took."""
        for key in self.fields:
            raise Refused(f"there is no field '{told(key)}' here")
