"""A model folder that MLflow has written, read as an artifact: only ONNX, and nothing in it is executed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight import runtimes
from pennyweight.core import Artifact, ServeSpec
from pennyweight.engine.answers import with_probes
from pennyweight.errors import BadInputError, CorruptError, MissingExtraError
from pennyweight.runtimes.onnx_intake import MODEL_FILE, admit
from pennyweight.store import disk
from pennyweight.store.codec import plain

if TYPE_CHECKING:
    from pathlib import Path

_DESCRIPTION = "MLmodel"
_DESCRIPTION_BYTE = 2**20
_MODEL_BYTE = 2**31
_PROBES = 8
_RUNTIME = "onnxruntime"


def is_mlflow(folder: Path) -> bool:
    """Whether a folder is a model of MLflow's."""
    return (folder / _DESCRIPTION).is_file()


def imported(folder: Path) -> Artifact:
    """The ONNX model of an MLflow folder, with probes drawn by chance and what it answers to them.

    Answers are those of the graph as they are. Raises `BadInputError` for a folder without an ONNX model, or one whose
    rows have no fixed shape, `CorruptError` for a graph that is damaged or keeps weights outside of its file.
    """
    name = _model_file(folder)
    body = disk.read(folder, name, _MODEL_BYTE)
    bare = Artifact("onnx", ((MODEL_FILE, body),))
    shape, dtype = _input(admit(bare))
    serve = ServeSpec(runtime=_RUNTIME)
    facts: dict[str, Any] = {
        "input_shape": shape,
        "input_dtype": dtype,
        "outputs": "values",
        "serve": plain(serve),
        "made": "mlflow",
    }
    artifact = replace(bare, meta=tuple(sorted(facts.items())))
    rows = np.random.default_rng(0).normal(size=(_PROBES, *shape)).astype(dtype)
    return with_probes(artifact, runtimes.load(_RUNTIME).load(artifact, serve), rows)


def _model_file(folder: Path) -> str:
    """The name of the ONNX file; a path that leads elsewhere is refused."""
    try:
        import yaml
    except ImportError as error:
        raise MissingExtraError.of("PyYAML", "serve") from error
    try:
        said = yaml.safe_load(disk.read(folder, _DESCRIPTION, _DESCRIPTION_BYTE))
        name = said["flavors"]["onnx"]["data"]
    except yaml.YAMLError as error:
        raise CorruptError(f"{folder / _DESCRIPTION} is no YAML.", "log the model again.") from error
    except (KeyError, TypeError):
        raise BadInputError(
            f"{folder} holds no ONNX model, and nothing else of MLflow's is served.", "log it with mlflow.onnx."
        ) from None
    if not isinstance(name, str) or "/" in name or "\\" in name or name.startswith("."):
        raise BadInputError(f"{folder} says that its model is {name!r}.", "keep the model beside MLmodel, as one file.")
    return name


def _input(body: bytes) -> tuple[list[int], str]:
    """The shape of a row, and its type."""
    import onnx

    given = onnx.ModelProto.FromString(body).graph.input[0].type.tensor_type
    shape = [axis.dim_value for axis in given.shape.dim][1:]
    if not all(size > 0 for size in shape):
        raise BadInputError("The rows that the model takes have no fixed shape.", "export it with only the batch free.")
    return shape, str(np.dtype(onnx.helper.tensor_dtype_to_np_dtype(given.elem_type)))
