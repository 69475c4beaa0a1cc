"""Entmax with alpha = 1.5: max(s / 2 - tau, 0)^2, tau such that a row sums to one.

Peters et al. 2019, eq. 9 and section 3.2.
"""

from attnverify.notation import attention, entmax_weights

spec = attention("entmax15", normaliser=entmax_weights())
