"""What tests of tables share: predictions of groups left out, for which a table is learned anew several times."""

import os
import pickle  # ruff: ignore[suspicious-pickle-import] - of files that the tests themselves have written
from hashlib import sha256

import pytest


@pytest.fixture(scope="session")
def held_out_once(tmp_path_factory):
    """`bench.heldout.held_out`, which the same rows, split and folds are given to only once in a run of all tests.

    Processes that test beside each other share what was found in files; both may find the same at the same time.
    """
    from bench.heldout import held_out

    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "held_out"
    folder.mkdir(exist_ok=True)

    def found(kind, rows, split, folds):
        columns = {name: column.tolist() for name, column in sorted(rows.columns.items())}
        name = sha256(repr((kind.name, columns, split, folds)).encode()).hexdigest()
        file = folder / name
        if not file.exists():
            part = file.with_suffix(f".{os.getpid()}")
            part.write_bytes(pickle.dumps(held_out(kind, rows, split, folds)))
            part.replace(file)
        return pickle.loads(file.read_bytes())  # ruff: ignore[suspicious-pickle-usage] - written above

    return found
