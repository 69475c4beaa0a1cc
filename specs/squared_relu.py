"""Squared ReLU attention: max(q.k / n, 0)^2, n the number of keys (Hua et al. 2022, section 3).

The division by n stands inside the square; the scores have no 1/sqrt(key_dim).
"""

from attnverify.notation import attention, axes, relu_weights

(keys,) = axes("keys")
spec = attention(
    "squared_relu", scale=1 / keys.size, normaliser=relu_weights(exponent=2, per_key=False)
)
