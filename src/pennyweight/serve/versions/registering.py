"""From an artifact folder to a version with a lineage, and from a version back to its artifact."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Any

from pennyweight.errors import BadInputError
from pennyweight.serve.versions.checkpoints import Way, is_checkpoint, keep
from pennyweight.serve.versions.importing import imported, is_mlflow
from pennyweight.serve.versions.intake import inspect
from pennyweight.store.artifacts import ArtifactStore, load
from pennyweight.store.place import home
from pennyweight.store.remote import RemoteStore
from pennyweight.store.team import registry
from pennyweight.store.team.names import named
from pennyweight.store.team.registry import Version

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection

    from pennyweight.core import Artifact

# What may be served: weights and graphs that hold no code. Pickled estimators would run what they were told to.
FORMATS = ("onnx", "torch", "openvino", "sklearn")
_LINEAGE = ("job", "fingerprint", "run", "made", "parent", "recipe")


def who() -> str:
    """The name of the person at this machine, as the history tells it."""
    try:
        return getpass.getuser()[:64]
    except (OSError, KeyError):
        return "unknown"


def register(link: Connection, folder: Path, name: str, url: str = "") -> Version:
    """Keep the artifact in `folder` and give it the next number under `name`; the same content keeps its own.

    It is kept as `kept` says.
    """
    return registry.add(link, kept(folder, name, url))


def kept(folder: Path, name: str, url: str = "", way: Way | None = None) -> Version:
    """Keep the artifact in `folder`; what is to be registered of it under `name`, and of a checkpoint its `way`.

    It is kept at home, or at `url`, where servers elsewhere find it too. A folder that MLflow has written is read as
    `importing` says, one of Hugging Face's as `checkpoints` does. Raises `BadInputError` for a name or a format that is
    not served, `CorruptError` for an artifact that is not whole.
    """
    named("model", name)
    if is_checkpoint(folder):
        return _checkpoint(folder, name, url, way or Way())
    if way not in {None, Way()}:
        raise BadInputError("An artifact says itself what runs it.", "leave --runtime and --precision out.")
    artifact = imported(folder) if is_mlflow(folder) else load(folder)
    if artifact.format not in FORMATS:
        raise BadInputError(f"{artifact.format} is not served.", f"export the model as one of {', '.join(FORMATS)}.")
    inspect(artifact)
    place = url or str((home() / "artifacts").absolute())
    digest = _store(place).put(artifact)
    return Version(name, 0, digest, place, lineage(artifact), _certificate(artifact), 0, who())


def _checkpoint(folder: Path, name: str, url: str, way: Way) -> Version:
    if url:
        raise BadInputError("A checkpoint is kept on this machine's disk only.", "leave --artifacts out.")
    root = home() / "artifacts"
    digest, facts = keep(folder, root, way)
    told = {each: facts[each] for each in ("made", "family")}
    return Version(name, 0, digest, str(root.absolute()), told, None, 0, who())


def lineage(artifact: Artifact) -> dict[str, Any]:
    """Where an artifact comes from, as far as its manifest tells."""
    facts = artifact.facts
    return {name: facts[name] for name in _LINEAGE if name in facts}


def _certificate(artifact: Artifact) -> dict[str, Any] | None:
    found = artifact.facts.get("certificate")
    return dict(found) if found else None


def fetch(version: Version) -> Artifact:
    """The artifact of a version, checked byte for byte."""
    return _store(version.place).get(version.digest)


def _store(place: str) -> ArtifactStore | RemoteStore:
    return RemoteStore(place) if "://" in place else ArtifactStore(place)
