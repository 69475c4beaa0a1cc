"""Find specs by name or path: the catalogue inside the package and a user's own folders."""

from __future__ import annotations

import ast
import difflib
import importlib.util
import itertools
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from attnverify.errors import AttnverifyError, LoadError, ParameterError, SubjectError

if TYPE_CHECKING:
    from attnverify.family import Family
    from attnverify.spec import Spec

SEARCH_PATH = "ATTNVERIFY_SPECS"
MODEL = ".onnx"


def folders() -> list[Path]:
    """Folders of spec files: those named in ATTNVERIFY_SPECS, then the packaged catalogue."""
    own = [Path(part) for part in os.environ.get(SEARCH_PATH, "").split(os.pathsep) if part]
    package = Path(__file__).parent
    # A wheel carries the catalogue inside the package; in a checkout it stands beside it.
    packaged = package / "specs"
    return [*own, packaged if packaged.is_dir() else package.parent / "specs"]


def catalog() -> list[str]:
    """The names of all specs on the search path, sorted; none of them is loaded.

    >>> "causal" in catalog()
    True
    """
    names = {path.stem for folder in folders() if folder.is_dir() for path in folder.glob("*.py")}
    return sorted(name for name in names if not name.startswith("_"))


def find(name: str) -> Path:
    """The file of a spec given by name or path; LoadError with near names where there is none."""
    if name.endswith((".py", MODEL)) or os.sep in name:
        path = Path(name)
        if path.is_file():
            return path
        raise LoadError(
            "no spec file at this path",
            spec=name,
            hint="name a catalogue spec or the path of a .py file or an .onnx model",
        )
    for folder in folders():
        path = folder / f"{name}.py"
        if path.is_file():
            return path
    near = difflib.get_close_matches(name, catalog(), n=3)
    raise LoadError(
        "no spec of this name",
        spec=name,
        hint=f"did you mean {' or '.join(near)}?" if near else "`attnverify list` shows the names",
    )


def describe(name: str) -> str:
    """The first line of a spec file's docstring, read without running the file."""
    path = find(name)
    try:
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    except (SyntaxError, UnicodeDecodeError, ValueError) as error:
        return f"(does not parse: {error})"
    return text.strip().partition("\n")[0]


def load(name: str | Spec, *, outputs: str | Iterable[str] | None = None, **values: Any) -> Spec:
    """Load a spec by name or path; keywords choose within a family and give parameters values.

    The path of an ONNX model stands for the spec of its node, as `from_onnx` makes it. `outputs`
    names other tensors that the spec assigns as its outputs, as a list or "O A". Raises
    LoadError where the file does not load, ParameterError for a wrong keyword or output.

    >>> load("causal", align="bottom_right").name
    'causal'
    >>> load("causal", outputs="O A").outputs
    ('O', 'A')
    """
    from attnverify.family import Family  # noqa: PLC0415  specs need SymPy, finding them does not
    from attnverify.spec import Spec  # noqa: PLC0415  specs need SymPy, finding them does not
    from attnverify.transforms.specialise import specialise  # noqa: PLC0415  specs need SymPy, finding them does not

    if isinstance(name, Spec):
        return _giving(specialise(name, values), outputs)
    if not isinstance(name, str):
        raise LoadError("a spec is given by name, by path or as a Spec", found=repr(name))
    path = find(name)
    if path.suffix == MODEL:
        return _giving(specialise(_of_model(path), values), outputs)
    module = _module(path)
    found = module.spec
    options = tuple(found.choices) if isinstance(found, Family) else ()
    rest = {key: value for key, value in values.items() if key not in options}
    member = found
    if isinstance(found, Family):
        chosen, numbers = found.picked({k: v for k, v in values.items() if k in options})
        member = _member(found, chosen, path)
        rest.update(numbers)
    _known(member, rest, options)
    text = (module.__doc__ or "").strip()
    if not member.description:
        member = member.replace(description=text)
    return _giving(specialise(member, rest), outputs)


def _of_model(path: Path) -> Spec:
    from attnverify.onnx import from_onnx  # noqa: PLC0415  specs need SymPy, finding them does not

    return from_onnx(path)


def _giving(spec: Spec, outputs: str | Iterable[str] | None) -> Spec:
    """The spec with other outputs among the tensors that it assigns."""
    if outputs is None:
        return spec
    names = outputs.replace(",", " ").split() if isinstance(outputs, str) else list(outputs)
    given = {entry.tensor.name for entry in spec.inputs}
    assigned = [name for name in spec.heads if name not in given]
    for name in names:
        if name not in assigned:
            near = difflib.get_close_matches(str(name), assigned, n=1)
            raise ParameterError(
                "the spec assigns no such output",
                spec=spec.name,
                found=str(name),
                due=", ".join(assigned),
                hint=f"did you mean {near[0]}?" if near else "",
            )
    if not names or len(set(names)) < len(names):
        raise ParameterError(
            "outputs are named once each", spec=spec.name, found=", ".join(names) or "none"
        )
    return spec.replace(outputs=tuple(names))


def _member(found: Family, chosen: dict[str, Any], path: Path) -> Spec:
    """The member of a family; what its function raises becomes a LoadError."""
    try:
        return found.spec(**chosen)
    except AttnverifyError:
        raise
    except Exception as error:
        raise LoadError(
            f"the function of {path.name} does not build a spec",
            spec=path.stem,
            found=f"{type(error).__name__}: {error}{_line(error, path.resolve())}",
        ) from error


def choices(name: str) -> dict[str, tuple[object, ...]]:
    """The choices that a family offers, by argument; empty for a single spec."""
    from attnverify.family import Family  # noqa: PLC0415  specs need SymPy, finding them does not

    if name.endswith(MODEL):
        return {}
    found = _module(find(name)).spec
    return (
        {key: choice.values for key, choice in found.choices.items()}
        if isinstance(found, Family)
        else {}
    )


@dataclass(frozen=True)
class Member:
    """One spec that a name stands for: its title, and all the values that choose it."""

    title: str
    values: Mapping[str, Any]
    spec: Spec


def members(spec: str | Spec, values: Mapping[str, Any]) -> Iterator[tuple[str, Spec]]:
    """The specs that a name stands for, each with the title that tells it apart.

    Of a family they are few: every value of every choice stands in one of them at least, and each
    differs from the default in as few choices as its function allows.

    >>> [title for title, _ in members("local", {})]
    ['local (align=top_left)', 'local (align=bottom_right)']
    """
    if not isinstance(spec, str):
        yield spec.name, load(spec, **values)
        return
    for member in selections(spec, values):
        yield member.title, member.spec


def selections(name: str, values: Mapping[str, Any]) -> Iterator[Member]:
    """The specs that a name stands for, each with all the values that choose it.

    Of a family they are few: every value of every choice stands in one of them at least, and each
    differs from the default in as few choices as its function allows.

    >>> [dict(member.values) for member in selections("local", {})]
    [{'align': 'top_left'}, {'align': 'bottom_right'}]
    """
    from attnverify.family import told  # noqa: PLC0415  specs need SymPy, finding them does not

    options = {key: found for key, found in choices(name).items() if key not in values}
    unseen = {(key, value) for key, found in options.items() for value in found}
    for picked in _from_the_default(options):
        if picked and not unseen & set(picked.items()):
            continue
        try:
            member = load(name, **values, **picked)
        except ParameterError:
            # A family may refuse a combination; asked for by name, it says why.
            if not picked:
                raise
            continue
        unseen -= set(picked.items())
        settings = {**values, **{key: told(value) for key, value in picked.items()}}
        yield Member(_title(member, settings), settings, member)


def _from_the_default(options: Mapping[str, tuple[object, ...]]) -> list[dict[str, Any]]:
    """All combinations of choices, those that differ from the default in few of them first."""
    default = {name: values[0] for name, values in options.items()}
    found = [
        dict(zip(options, picked, strict=True)) for picked in itertools.product(*options.values())
    ]
    return sorted(found, key=lambda picked: sum(picked[name] != default[name] for name in options))


def _title(spec: Spec, values: Mapping[str, Any]) -> str:
    # A choice of nothing would leave nothing to read.
    text = ", ".join(
        f"{name}={value}" if value != "" else f"{name}=''" for name, value in values.items()
    )
    return f"{spec.name} ({text})" if text else spec.name


def _known(spec: Spec, values: dict[str, Any], options: tuple[str, ...]) -> None:
    names = [*options, *(parameter.name for parameter in spec.parameters)]
    for key in values:
        if key not in names:
            near = difflib.get_close_matches(key, names, n=1)
            raise ParameterError(
                "an unknown parameter",
                spec=spec.name,
                found=key,
                due=", ".join(names) or "this spec has none",
                hint=f"did you mean {near[0]}?" if near else "",
            )


def _module(path: Path) -> ModuleType:
    return _run(path.resolve(), path.stat().st_mtime_ns)


@cache
def _run(path: Path, _modified: int) -> ModuleType:
    """Run a spec file; whatever it raises becomes a LoadError that names the file and the line."""
    from attnverify.family import Family  # noqa: PLC0415  specs need SymPy, finding them does not
    from attnverify.spec import Spec  # noqa: PLC0415  specs need SymPy, finding them does not

    loader = importlib.util.spec_from_file_location(f"_attnverify_spec_{path.stem}", path)
    if loader is None or loader.loader is None:
        raise LoadError("not a Python file", spec=str(path))
    module = importlib.util.module_from_spec(loader)
    try:
        loader.loader.exec_module(module)
    except AttnverifyError as error:
        raise LoadError(f"{path.name} does not load", spec=path.stem, found=str(error)) from error
    except (Exception, SystemExit) as error:
        where = _line(error, path)
        raise LoadError(
            f"{path.name} does not load",
            spec=path.stem,
            found=f"{type(error).__name__}: {error}{where}",
        ) from error
    found = getattr(module, "spec", None)
    if not isinstance(found, Spec | Family):
        raise LoadError(
            f"{path.name} does not end with a spec",
            spec=path.stem,
            found=type(found).__name__,
            due="a module-level `spec`: a Spec, or family(build, ...)",
        )
    return module


def _line(error: BaseException, path: Path) -> str:
    trace, line = error.__traceback__, 0
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    if isinstance(error, SyntaxError) and error.lineno:
        line = error.lineno
    return f" (line {line})" if line else ""


def resolve_subject(name: str) -> Callable[..., Any]:
    """The callable that `package.module:function` or `path/file.py:function` names.

    Raises SubjectError where the module does not import or lacks the function.
    """
    source, colon, attribute = name.rpartition(":")
    if not colon or not source or not attribute:
        raise SubjectError(
            "a subject is named module:function or file.py:function", found=repr(name)
        )
    module = _import_file(Path(source)) if source.endswith(".py") else _import_module(source)
    target: Any = module
    for part in attribute.split("."):
        if not hasattr(target, part):
            near = difflib.get_close_matches(part, dir(target), n=1)
            raise SubjectError(
                "the module lacks this function",
                found=attribute,
                due=source,
                hint=f"did you mean {near[0]}?" if near else "",
            )
        target = getattr(target, part)
    if not callable(target):
        raise SubjectError(
            "the subject is not callable", found=f"{name} is a {type(target).__name__}"
        )
    return target  # type: ignore[no-any-return]  # callable, whatever it returns


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise SubjectError("no file at this path", found=str(path))
    name = _module_name(path)
    loader = importlib.util.spec_from_file_location(name, path)
    if loader is None or loader.loader is None:
        raise SubjectError("not a Python file", found=str(path))
    module = importlib.util.module_from_spec(loader)
    # A subject may import its neighbours and be found again by name, as when Python runs it.
    sys.path.insert(0, str(path.resolve().parent))
    sys.modules[name] = module
    try:
        loader.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise SubjectError(
            f"{path} does not import", found=f"{type(error).__name__}: {error}"
        ) from error
    finally:
        sys.path.pop(0)
    return module


def _module_name(path: Path) -> str:
    """The file's stem, or its whole path where another module has the stem already."""
    holder = sys.modules.get(path.stem)
    taken = holder is not None and getattr(holder, "__file__", None) != str(path)
    return str(path.resolve()) if taken else path.stem


def _import_module(source: str) -> ModuleType:
    try:
        return import_module(source)
    except (Exception, SystemExit) as error:
        raise SubjectError(
            f"{source} does not import",
            found=f"{type(error).__name__}: {error}",
            hint="install it, or give a path such as ./mine.py:attention",
        ) from error
