"""Dilated window: every `step`-th key of a window of `window` such keys (Beltagy et al. 2020, 3.1).

Causal windows end at the query's own position, two-sided ones reach as far to both sides.
"""

from attnverify.notation import Choice, Spec, attention, every_step, family, parameter, within

window = parameter("window", integer=True, ge=1, doc="keys seen to each side, the own one included")
step = parameter("step", integer=True, ge=1, doc="distance from one key of the window to the next")


def build(causal: bool) -> Spec:
    """A dilated window to the left, or to both sides."""
    reach = (window - 1) * step
    mask = within(left=reach, right=0 if causal else reach) & every_step(step)
    return attention("dilated", mask=mask, parameters=[window, step])


spec = family(build, causal=Choice(True, False))
