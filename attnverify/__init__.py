"""attnverify says whether an attention computation is right, and why.

The names below load what they need when they are first used, so that the import is quick.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from attnverify.attention import attention
    from attnverify.audit import audit
    from attnverify.check import check
    from attnverify.compile import compile  # noqa: A004  the fixed public name
    from attnverify.export import export
    from attnverify.flex import from_flex
    from attnverify.flow.report import flow
    from attnverify.ghostwrite import ghostwrite
    from attnverify.identify import identify
    from attnverify.lattice import lattice
    from attnverify.library import catalog, load
    from attnverify.onnx import from_onnx
    from attnverify.onnx_tests import onnx_tests
    from attnverify.report import write_html
    from attnverify.spec import Spec
    from attnverify.transforms.gradient import gradient
    from attnverify.transforms.tangent import tangent
    from attnverify.verdict import Report, Verdict
    from attnverify.verify import verify

__version__ = "0.1.0"

_HOMES = {
    "attention": "attnverify.attention",
    "catalog": "attnverify.library",
    "check": "attnverify.check",
    "compile": "attnverify.compile",
    "export": "attnverify.export",
    "flow": "attnverify.flow.report",
    "from_flex": "attnverify.flex",
    "from_onnx": "attnverify.onnx",
    "gradient": "attnverify.transforms.gradient",
    "ghostwrite": "attnverify.ghostwrite",
    "audit": "attnverify.audit",
    "identify": "attnverify.identify",
    "lattice": "attnverify.lattice",
    "load": "attnverify.library",
    "onnx_tests": "attnverify.onnx_tests",
    "Report": "attnverify.verdict",
    "Spec": "attnverify.spec",
    "tangent": "attnverify.transforms.tangent",
    "Verdict": "attnverify.verdict",
    "verify": "attnverify.verify",
    "write_html": "attnverify.report",
}

__all__ = [
    "Report",
    "Spec",
    "Verdict",
    "attention",
    "audit",
    "catalog",
    "check",
    "compile",
    "export",
    "flow",
    "from_flex",
    "from_onnx",
    "ghostwrite",
    "gradient",
    "identify",
    "lattice",
    "load",
    "onnx_tests",
    "tangent",
    "verify",
    "write_html",
]


class _Face(ModuleType):
    """Verbs are files, so a file and its function share a name: the face shows the function."""

    def __setattr__(self, name: str, value: object) -> None:
        # Importing attnverify.check binds the submodule here; the name stays free for the function.
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)

    def __getattr__(self, name: str) -> object:
        home = _HOMES.get(name)
        if home is None:
            raise AttributeError(f"module 'attnverify' has no attribute '{name}'")
        value = getattr(import_module(home), name)
        super().__setattr__(name, value)
        return value

    def __dir__(self) -> list[str]:
        return sorted([*__all__, "__version__"])


sys.modules[__name__].__class__ = _Face
