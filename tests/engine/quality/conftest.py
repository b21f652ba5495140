import pytest
from pupils import language, stirred, teach


@pytest.fixture(scope="session")
def pupils(tmp_path_factory):
    """A folder with the model "good", nearly the same as "near", one that is worse as "worse", and a text."""
    place = tmp_path_factory.mktemp("pupils")
    teach(place / "good")
    stirred(place / "good", place / "near", 0.002)
    stirred(place / "good", place / "worse", 0.5)
    (place / "text.txt").write_text(language(9000, 7))
    (place / "short.txt").write_text(language(500, 8))
    return place


@pytest.fixture(autouse=True)  # ruff: ignore[pytest-fixture-autouse] - no test may write into another's ledger
def _own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("PENNYWEIGHT_HOME", str(tmp_path / "home"))
