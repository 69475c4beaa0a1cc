"""The derived gradient as a rule of the library's own: an autograd function, a custom VJP."""

from __future__ import annotations

from attnverify.export.function import Function
from attnverify.export.layout import called, listed


def torch_rule(name: str, forward: Function, backward: Function) -> str:
    """The class whose backward runs the derived gradient, and the function that applies it."""
    title = "".join(part.capitalize() for part in name.split("_"))
    settings, arrays, cotangents = _names(forward, backward)
    saved = [f"{key}=ctx.{key}" for key in settings]
    lines = [
        f"class {title}(torch.autograd.Function):",
        f'    """The equations of `{forward.name}`, with `{backward.name}` as their gradient."""',
        "",
        "    @staticmethod",
        *called("def forward", ["ctx", *arrays, *settings], ":", "    "),
        *called("ctx.save_for_backward", arrays, "", "        "),
        *(f"        ctx.{key} = {key}" for key in settings),
        *called(f"return {forward.name}", [*arrays, *_keywords(settings)], "", "        "),
        "",
        "    @staticmethod",
        *called("def backward", ["ctx", *cotangents], ":", "    "),
        *_gradients(backward, ["*ctx.saved_tensors", *cotangents, *saved], "        "),
        *listed("return", _slots(forward, backward) + ["None"] * len(settings), "        "),
        "",
        "",
        *forward.signature(name),
        f'    """`{forward.name}`, differentiated by its derived equations."""',
        *called(f"return {title}.apply", [*arrays, *settings], "", "    "),
    ]
    return "\n".join(lines)


def jax_rule(name: str, forward: Function, backward: Function) -> str:
    """The function with a custom VJP that runs the derived gradient."""
    settings, arrays, cotangents = _names(forward, backward)
    rule = f"{name}_rule" if settings else name
    held = f"@partial(jax.custom_vjp, nondiff_argnums={tuple(range(len(settings)))})"
    told = f'    """`{forward.name}`, differentiated by its derived equations."""'
    run = called(f"return {forward.name}", [*arrays, *_keywords(settings)], "", "    ")
    given = cotangents[0] if len(cotangents) == 1 else f"({', '.join(cotangents)})"
    opened = [] if len(cotangents) == 1 else [f"    {', '.join(cotangents)} = given"]
    lines = [
        held if settings else "@jax.custom_vjp",
        *called(f"def {rule}", [*settings, *arrays], ":"),
        told,
        *run,
        "",
        "",
        *called(f"def {name}_saved", [*settings, *arrays], ":"),
        f'    """What `{name}` gives, and what its gradient needs."""',
        *called(f"result = {forward.name}", [*arrays, *_keywords(settings)], "", "    "),
        *called("return result, ", [*arrays, ""] if len(arrays) == 1 else arrays, "", "    "),
        "",
        "",
        *called(f"def {name}_vjp", [*settings, "saved", given if not opened else "given"], ":"),
        f'    """The gradient by each input from the cotangent of what `{name}` gives."""',
        *opened,
        *_gradients(backward, ["*saved", *cotangents, *_keywords(settings)], "    "),
        *_all(_slots(forward, backward)),
        "",
        "",
        f"{rule}.defvjp({name}_saved, {name}_vjp)",
    ]
    if settings:
        lines += ["", "", *forward.signature(name), told]
        lines += called(f"return {rule}", [*settings, *arrays], "", "    ")
    return "\n".join(lines)


def _names(forward: Function, backward: Function) -> tuple[list[str], list[str], list[str]]:
    """The settings, the arrays, and the cotangents."""
    return forward.settings, forward.arrays, backward.arrays[len(forward.arrays) :]


def _keywords(settings: list[str]) -> list[str]:
    return [f"{key}={key}" for key in settings]


def _gradients(backward: Function, arguments: list[str], indent: str) -> list[str]:
    """The call of the derived gradient."""
    outputs = list(backward.spec.outputs)
    short = called(f"{', '.join(outputs)} = {backward.name}", arguments, "", indent)
    if len(short) == 1 or len(outputs) == 1:
        return short
    return [
        *called(f"gradients = {backward.name}", arguments, "", indent),
        *called("", outputs, " = gradients", indent),
    ]


def _all(slots: list[str]) -> list[str]:
    """The gradients as a tuple, of one as well."""
    return listed("return", slots, "    ") if len(slots) > 1 else [f"    return ({slots[0]},)"]


def _slots(forward: Function, backward: Function) -> list[str]:
    """A gradient for each input in order, None for one that is not real."""
    found = iter(backward.spec.outputs)
    return [next(found) if kind == "real" else "None" for kind in forward.kinds]


__all__ = ["jax_rule", "torch_rule"]
