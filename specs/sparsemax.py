"""Sparsemax: the projection of a row of scores on the simplex (Martins & Astudillo 2016, eq. 2).

A = max(s - tau, 0), tau such that a row sums to one.
"""

from attnverify.notation import attention, sparsemax_weights

spec = attention("sparsemax", normaliser=sparsemax_weights())
