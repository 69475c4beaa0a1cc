"""Tests of how gradients and information flow."""
