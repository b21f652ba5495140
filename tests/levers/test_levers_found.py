"""Levers are found by their file names, and finding them costs nothing."""

import subprocess
import sys

import pytest

from pennyweight import levers
from pennyweight.core import Lever
from pennyweight.errors import BadInputError, UnknownNameError

HEAVY = ("torch", "sklearn", "scipy", "onnx", "onnxruntime", "openvino", "nncf", "optuna", "torch_pruning", "skl2onnx")


def test_every_lever_is_found_by_its_file_name():
    found = levers.find()
    assert {"quantize", "runtime", "prune", "distill"} <= set(found)
    for name, kind in found.items():
        assert issubclass(kind, Lever)
        assert kind.__module__ == f"pennyweight.levers.{name}"
        assert levers.load(name) is kind


def test_they_come_in_the_order_in_which_they_are_pulled():
    stages = [kind.stage for kind in levers.find().values()]
    assert stages == sorted(stages)


def test_an_unknown_name_lists_the_nearest():
    with pytest.raises(UnknownNameError, match="quantize"):
        levers.load("quantise")


def test_finding_all_of_them_imports_no_heavy_library():
    check = "import sys; from pennyweight import levers; levers.find()"
    check += f"; assert not [name for name in {HEAVY!r} if name in sys.modules]"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_file_with_two_levers_is_refused(tmp_path, monkeypatch):
    (tmp_path / "twice.py").write_text(
        "from pennyweight.levers.runtime import Runtime\nclass A(Runtime):\n    pass\nclass B(Runtime):\n    pass\n"
    )
    monkeypatch.setattr(levers, "__path__", [*levers.__path__, str(tmp_path)])
    levers._files.cache_clear()
    try:
        with pytest.raises(BadInputError, match="2 levers"):
            levers.load("twice")
    finally:
        levers._files.cache_clear()
        sys.modules.pop("pennyweight.levers.twice", None)
