"""Theory beside measurement: what papers prove about gradient flow, held against derived Jacobians.

Each function gives a Verdict with its conditions: PROVED where the statement is an identity that
the provers decide for all sizes, HELD where a bound or a law was measured on draws and never
broken, REFUTED with the first draw that breaks it. Constants of papers are derived again.
"""
