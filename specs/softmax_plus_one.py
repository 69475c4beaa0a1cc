"""Softmax plus one: exp(s) / (1 + sum exp(s)), a row may attend to nothing (Miller 2023)."""

from attnverify.notation import attention, plus_one_weights

spec = attention("softmax_plus_one", normaliser=plus_one_weights())
