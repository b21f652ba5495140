"""Runtimes are found by their file names, and finding them costs nothing."""

import subprocess
import sys

import pytest

from pennyweight import runtimes
from pennyweight.core import Artifact, ServeSpec
from pennyweight.errors import BadInputError, UnknownNameError

HEAVY = ("torch", "onnx", "onnxruntime", "openvino", "sklearn")


def test_every_runtime_is_found_by_its_file_name():
    assert {"torch", "compiled", "onnxruntime", "openvino", "sklearn"} <= set(runtimes.names())
    for name in runtimes.names():
        runtime = runtimes.load(name)
        assert runtime.name == name
        assert runtime.formats
        assert "float32" in runtime.precisions


def test_files_that_only_help_are_no_runtimes():
    assert not {"base", "torch_graph", "onnx_intake"} & set(runtimes.names())
    with pytest.raises(UnknownNameError):
        runtimes.load("base")


def test_an_unknown_name_lists_the_nearest():
    with pytest.raises(UnknownNameError, match="onnxruntime"):
        runtimes.load("onnxruntme")


def test_finding_all_of_them_imports_no_heavy_library():
    check = (
        "import sys; from pennyweight import runtimes; [runtimes.load(name).available() for name in runtimes.names()]"
    )
    check += f"; assert not [name for name in {HEAVY!r} if name in sys.modules]"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", runtimes.names())
def test_what_a_runtime_cannot_execute_is_refused_before_it_is_read(name):
    runtime = runtimes.load(name)
    foreign = Artifact("parchment", (("model", b"?"),))
    with pytest.raises(BadInputError, match="parchment"):
        runtime.load(foreign, ServeSpec(name))
    fitting = Artifact(runtime.formats[0], ())
    with pytest.raises(BadInputError, match="float7"):
        runtime.load(fitting, ServeSpec(name, precision="float7"))
    with pytest.raises(BadInputError, match="0 threads"):
        runtime.load(fitting, ServeSpec(name, threads=0))
