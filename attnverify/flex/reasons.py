"""Why a function is not traced, in words."""

from __future__ import annotations

_REDUCTIONS = (
    "sum mean prod any all cumsum cumprod argmax argmin amax amin softmax log_softmax logsumexp "
    "norm std var sort argsort topk median count_nonzero matmul dot bmm einsum"
)
_RANDOM = (
    "rand_like randn_like randint_like bernoulli dropout alpha_dropout multinomial normal poisson"
)
_NUMBERS = "item tolist numpy"
_LOOK_UPS = "index_select gather take take_along_dim searchsorted bucketize embedding"
_WRITES = "setitem index_put index_fill scatter index_copy scatter_add"
_MAKES = "arange full zeros ones eye linspace stack cat concatenate reshape view expand repeat"

_REASONS = (
    (_REDUCTIONS, "reduces over an axis, while a modification sees one place at a time", ""),
    (_RANDOM, "draws random numbers", "close over a tensor of what was drawn"),
    (_NUMBERS, "asks for the number behind a traced value", "leave it a tensor"),
    (_LOOK_UPS, "is not traced", "write table[position]"),
    (_WRITES, "writes into a tensor", "write torch.where(...)"),
    (_MAKES, "makes a tensor with axes from a traced value", "write table[position]"),
    ("round", "rounds to the nearest whole number", "use // or torch.floor"),
)
REASONS = {name: (why, hint) for names, why, hint in _REASONS for name in names.split()}


def reason(name: str) -> tuple[str, str]:
    """Why a function is not traced, and what to write instead.

    >>> reason("cumsum")[0]
    'calls cumsum, which reduces over an axis, while a modification sees one place at a time'
    """
    if name.endswith("_"):
        return f"calls {name}, which writes into a tensor", "write torch.where(...)"
    why, hint = REASONS.get(name, ("is not traced", ""))
    return f"calls {name}, which {why}", hint
