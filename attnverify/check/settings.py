"""What a check was told, and the command line that tells it again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from os import PathLike
from typing import Any

from attnverify.attention.stages import EMPTY_ROWS
from attnverify.dtypes import float_type
from attnverify.errors import ParameterError
from attnverify.inputs import Support
from attnverify.spec import Spec
from attnverify.subjects import Answerer, Outputs, Plan, plan, resolved, subject
from attnverify.subjects.isolated import Isolated, process_of
from attnverify.subjects.process import Limits, Process
from attnverify.subjects.ranks import Ranks, Sharding


@dataclass(frozen=True)
class Settings:
    """The subject, the spec and how one is put to the other."""

    fn: Any
    spec: Spec
    framework: str = "numpy"
    layout: str | Mapping[str, str] | None = None
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    outputs: Outputs = ()
    sizes: Support = field(default_factory=dict)
    internal: str | None = None
    empty_rows: str | None = None
    vjp: Callable[..., Any] | None = None
    seed: int = 0
    spec_name: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    subject_name: str = ""
    device: str = ""
    packed: Mapping[str, str] = field(default_factory=dict)
    limits: Limits | None = None
    process: Process | Ranks | None = None
    sharding: Sharding | None = None
    poison: str | None = None
    profile: str = "loose"
    explain: bool = True
    types: Mapping[str, str] = field(default_factory=dict)
    backward: bool = True
    rows: int | None = None

    def __post_init__(self) -> None:
        """ParameterError for what is no number of rows."""
        rows = self.rows
        if rows is not None and (isinstance(rows, bool) or not isinstance(rows, int) or rows < 1):
            raise ParameterError("rows are counted", found=repr(rows), due="1 or more, such as 64")

    @property
    def name(self) -> str:
        """The subject's name: the one given, a model's path, or module:function."""
        if self.subject_name:
            return self.subject_name
        if isinstance(self.fn, str | PathLike):
            return str(self.fn)
        module = getattr(self.fn, "__module__", None) or type(self.fn).__module__
        return f"{module}:{getattr(self.fn, '__qualname__', type(self.fn).__qualname__)}"

    def inside(self, dtype: str) -> str | None:
        """The narrower type that it computes in where its arrays are of this one; None without."""
        if self.internal is None or _roundoff(self.internal) < _roundoff(dtype):
            return None
        return self.internal

    def fit(self, dtypes: Sequence[str]) -> None:
        """ParameterError where the type inside is narrower than none of these."""
        if self.internal is not None and not any(map(self.inside, dtypes)):
            raise ParameterError(
                "the internal type is wider than the subject's own",
                found=f"{self.internal} inside {', '.join(dtypes)}",
                due="a narrower one, such as float32 inside float64",
            )

    def wrapped(self, dtype: str) -> Answerer:
        """The subject in one dtype, here or in its own process."""
        if self.process is not None:
            return Isolated(plan(self.spec, **self._call, dtype=dtype), self.process)
        fn = resolved(self.fn, self.framework) if isinstance(self.fn, str) else self.fn
        return subject(fn, self.spec, **self._call, dtype=dtype, vjp=self.vjp)

    @property
    def _call(self) -> dict[str, Any]:
        """How it is called, but for the type."""
        return {
            "framework": self.framework,
            "layout": self.layout,
            "kwargs": self.kwargs,
            "inputs": self.inputs,
            "outputs": self.outputs,
            "device": self.device,
            "packed": self.packed,
            "types": self.types,
        }

    def over(self, ranks: int | Mapping[str, int] | None) -> Settings:
        """These settings with the subject over several ranks; ParameterError for what has none."""
        if ranks is None:
            return self
        given = {"n": ranks} if isinstance(ranks, int) else dict(ranks)
        if len(given) != 1:
            raise ParameterError("ranks share out one axis", found=given, due='such as {"n": 2}')
        ((letter, count),) = given.items()
        sharding = Sharding(count, letter)
        return replace(self, sharding=sharding, sizes=sharding.sizes(self.spec, self.sizes))

    def begun(self) -> AbstractContextManager[Settings]:
        """These settings with the subject's process running, where it has limits of its own."""
        if self.limits is None:
            return nullcontext(self)
        return self._isolated(self.limits)

    @contextmanager
    def _isolated(self, limits: Limits) -> Iterator[Settings]:
        # Which inputs have a type of their own is told for each type that is judged.
        call = replace(plan(self.spec, **{**self._call, "types": {}}), types=self.types)
        # A function is told by its own name: the one given may be no more than a title.
        one = process_of(self.fn, call, self.framework, self.vjp, limits)
        with one if self.sharding is None else self._ranks(one, call, self.sharding) as process:
            yield replace(self, process=process)

    def _ranks(self, one: Process, call: Plan, sharding: Sharding) -> Ranks:
        if self.framework != "torch" or self.packed:
            raise ParameterError(
                "ranks are those of torch.distributed",
                found=f"framework={self.framework!r}" + ", packed" * bool(self.packed),
                due='framework="torch", without packed',
            )
        return Ranks(one, sharding.ranks, sharding.places(call.layout))

    def command(self, dtype: str, path: str) -> str:
        """The command that replays kept arrays.

        >>> from attnverify import load
        >>> Settings(len, load("global"), subject_name="m:f").command("float32", "w.npz")
        'attnverify check m:f --spec global --framework numpy --dtype float32 --replay w.npz'
        """
        return shlex.join([*self._words(dtype), "--replay", path])

    def again(self, dtype: str, cases: int | None = None) -> str:
        """The command that draws and judges all cases anew."""
        drawn = ["--seed", str(self.seed), *([] if cases is None else ["--cases", str(cases)])]
        return shlex.join([*self._words(dtype), *drawn])

    def _words(self, dtype: str) -> list[str]:
        """The command but for the cases."""
        words = ["attnverify", "check", self.name, "--spec", self.spec_name or self.spec.name]
        words += ["--framework", self.framework]
        if isinstance(self.layout, str):
            words += ["--layout", self.layout]
        words += ["--device", self.device] if self.device else []
        words += ["--dtype", dtype]
        told = (
            ("--kwargs", self.kwargs),
            ("--inputs", self.inputs),
            ("--sizes", self.sizes),
            ("--packed", self.packed),
            ("--types", self.types),
        )
        for flag, value in told:
            words += [flag, json.dumps(dict(value), default=repr)] if value else []
        words += ["--outputs", json.dumps(self.outputs)] if self.outputs else []
        for key, value in self.values.items():
            words += ["--set", f"{key}={value}"]
        profile = None if self.profile == "loose" else self.profile
        said = {
            "--internal": self.inside(dtype),
            "--profile": profile,
            "--empty-rows": self.empty_rows,
            "--poison": self.poison,
        }
        for flag, text in said.items():
            words += [flag, text] if text else []
        words += [] if self.backward else ["--no-backward"]
        words += [] if self.rows is None else ["--rows", str(self.rows)]
        words += [] if self.limits is None else self.limits.words()
        words += [] if self.sharding is None else self.sharding.words()
        return words


def declared(
    spec: str | Spec, empty_rows: str | None, packed: Mapping[str, str] | None
) -> dict[str, str]:
    """The choice that a declared convention is; a Spec is composed with its own."""
    if packed and empty_rows != "zeros":
        raise ParameterError(
            "packed sequences have padding in the spec, which counts as zeros",
            found=f"empty_rows={empty_rows!r}",
            due='empty_rows="zeros"',
        )
    if empty_rows is not None and empty_rows not in EMPTY_ROWS:
        raise ParameterError(
            "a convention for rows without keys that cannot be judged",
            found=repr(empty_rows),
            due=f"{', '.join(map(repr, EMPTY_ROWS))}, or leave it undeclared",
        )
    if empty_rows is None or empty_rows == "zeros" or isinstance(spec, Spec):
        return {}
    return {"empty_rows": empty_rows}


def _roundoff(dtype: str) -> float:
    return float_type(dtype).roundoff
