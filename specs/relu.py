"""ReLU attention: max(s, 0) over the number of keys (Wortsman et al. 2023, section 3)."""

from attnverify.notation import attention, relu_weights

spec = attention("relu", normaliser=relu_weights())
