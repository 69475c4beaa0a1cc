"""The closed list of what is traced; importing it enters every rule."""

from attnverify.flex.rules import arithmetic, constants, functions, truths

__all__ = ["arithmetic", "constants", "functions", "truths"]
