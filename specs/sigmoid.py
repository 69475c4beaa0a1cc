"""Sigmoid attention: each weight is sigma(s + b) (Ramapuram et al. 2024, section 3).

`bias="log_keys"` is b = -log(n_k), the source's choice; `"parameter"` leaves b open.
"""

from attnverify.notation import Choice, Spec, attention, family, parameter, sigmoid_weights

b = parameter("b", doc="what is added to every score")


def build(bias: str) -> Spec:
    """Sigmoid attention with one kind of bias."""
    if bias == "parameter":
        return attention("sigmoid", normaliser=sigmoid_weights(b), parameters=[b])
    return attention("sigmoid", normaliser=sigmoid_weights())


spec = family(build, bias=Choice("log_keys", "parameter"))
