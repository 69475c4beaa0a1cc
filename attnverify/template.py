"""The spec file that `attnverify new` writes: it loads and verifies as it is, and is edited."""

from __future__ import annotations

import keyword
from pathlib import Path

from attnverify.errors import ParameterError, ReportError

TEXT = '''"""NAME: say in one line what it computes and where that is written (Author 2026, eq. 1).

Below, what a reader must know to use it: conventions, and which of several readings this is.
"""

from attnverify.notation import Spec, axes, let, parameter, softmax, sqrt, tensors, total

# Axes have names and open sizes; an index runs over one. Two indices may share an axis.
batch, heads, queries, keys = axes("batch heads queries keys")
key_dim, value_dim = axes("key_dim value_dim")
b, h, i, j = batch["b"], heads["h"], queries["i"], keys["j"]
k, c = key_dim["k"], value_dim["c"]

# Letters of the paper: what comes in, what each equation assigns, what goes out.
Q, K, V, S, A, O = tensors("Q K V S A O")

# A number that stays open, with its domain. It becomes a keyword of what is compiled or exported.
# Delete it, and `parameters=` below, if the formula has none.
temperature = parameter("temperature", gt=0, doc="what scores are divided by")

# Which keys a query sees: a condition on positions, or on an input of whole numbers or booleans.
# A row that sees no key has the weights 0.
seen = j <= i

spec = Spec(
    "NAME",
    inputs=[Q[b, h, i, k], K[b, h, j, k], V[b, h, j, c]],
    # In order; each name once. `total` sums over a whole axis.
    equations=[
        let(
            S[b, h, i, j],
            total(Q[b, h, i, k] * K[b, h, j, k], over=k) / (temperature * sqrt(key_dim.size)),
        ),
        let(A[b, h, i, j], softmax(S[b, h, i, j], over=j, where=seen)),
        # A normaliser of your own is written out: import exp and where, which is 1 or 0, and after
        # let(Z[b, h, i], total(where(seen) * exp(S[b, h, i, j]), over=j)) comes
        # let(A[b, h, i, j], where(seen) * exp(S[b, h, i, j]) / Z[b, h, i]).
        let(O[b, h, i, c], total(A[b, h, i, j] * V[b, h, j, c], over=j)),
    ],
    outputs=[O],
    parameters=[temperature],
    # What fails as a property of the variant, and why. `attnverify verify` says what else does.
    announces={"permutation equivariance": "the mask orders the keys"},
)
'''


def template(name: str) -> str:
    """The text of a spec file with comments, for a variant of this name.

    Raises ParameterError for a name that no function can have.

    >>> template("mine").splitlines()[0].strip('"')[:25]
    'mine: say in one line wha'
    """
    if not name.isidentifier() or keyword.iskeyword(name):
        raise ParameterError(
            "a spec's name is that of its functions",
            found=repr(name),
            due="letters, digits and _, such as my_attention",
        )
    return TEXT.replace("NAME", name)


def begin(name: str, folder: Path) -> Path:
    """Write the file of a new variant into a folder; its path.

    Raises ParameterError for a name that no function can have, ReportError where the file is there
    already or cannot be written.
    """
    text, path = template(name), folder / f"{name}.py"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        if isinstance(error, FileExistsError) and folder.is_dir():
            raise ReportError(
                "the file is there already", file=path, hint="take another name, or --out DIR"
            ) from None
        raise ReportError("the file cannot be written", file=path, found=error.strerror) from None
    return path
