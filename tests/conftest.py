"""What all tests share: the sample data beside the checkout, one thread, and the same random numbers every time."""

import os
import random
import sys
from pathlib import Path

# Before any library reads it: tests run beside each other, each on one thread.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
from hypothesis import settings

_SAMPLES = Path(__file__).resolve().parents[2] / "shared" / "data"

settings.register_profile("everywhere", deadline=None, derandomize=os.environ.get("CI") == "true")
settings.load_profile("everywhere")


@pytest.fixture(scope="session")
def samples() -> Path:
    """The folder of sample data; without it tests are skipped, but never where everything must run."""
    if _SAMPLES.is_dir():
        return _SAMPLES
    if os.environ.get("CI") == "true":
        pytest.fail(f"The sample data is missing: there is no {_SAMPLES}.")
    pytest.skip("there is no sample data beside the checkout")


@pytest.fixture(autouse=True)  # ruff: ignore[pytest-fixture-autouse] - every test, or it is no guard
def _same_every_time() -> None:
    """Start each test from the same seeds, on one thread."""
    random.seed(0)
    np.random.seed(0)  # ruff: ignore[numpy-legacy-random] - libraries that still draw from the global generator
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "manual_seed"):
        torch.manual_seed(0)
        torch.set_num_threads(1)
