"""Settings that every test runs under."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from tests.provers.laws import forget

# A first draw may compile a spec, which is slow once and says nothing about the program:
# deadlines are off. `reproducible` draws the same cases in every run.
settings.register_profile(
    "reproducible",
    deadline=None,
    derandomize=True,
    max_examples=50,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "searching", settings.get_profile("reproducible"), derandomize=False, max_examples=500
)
# A verdict that some earlier run left in the user's cache would test nothing; the tests of the
# cache have one of their own.
os.environ["ATTNVERIFY_CACHE"] = ""
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "reproducible"))


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator that starts alike in every test."""
    return np.random.default_rng(20170612)


@pytest.fixture(autouse=True)
def _proofs_of_its_own(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test that may change the rules neither finds the proofs of others nor leaves its own."""
    changing = "monkeypatch" in request.fixturenames
    if changing:
        forget()
    yield
    if changing:
        forget()


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Processes started in the test take Ctrl-C, also where the tests run behind a shell's `&`.

    A signal that is ignored stays ignored in what is started; one with a handler does not.
    """
    earlier = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, earlier)
