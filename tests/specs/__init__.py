"""Specs against references that are written from their papers with plain loops."""
