"""A process that serves holds what serving takes, and whoever starts it does not load that first."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("module", "kept_out"),
    [
        ("pennyweight.serve.alone", "numpy sqlalchemy starlette uvicorn"),
        ("pennyweight.serve.running", "typer rich pydantic onnx google sklearn torch scipy openai ray opentelemetry"),
    ],
)
def test_what_is_not_needed_is_not_loaded(module, kept_out):
    code = f"import sys, {module}; print(*({set(kept_out.split())} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
