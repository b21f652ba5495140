"""From an artifact folder to a version with a lineage, and from a version back to its artifact."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Any

from pennyweight.errors import BadInputError
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

    It is kept at home, or at `url`, where servers elsewhere find it too. A folder that MLflow has written is read as
    `importing` says. Raises `BadInputError` for a name or a format that is not served, `CorruptError` for an artifact
    that is not whole.
    """
    named("model", name)
    artifact = imported(folder) if is_mlflow(folder) else load(folder)
    if artifact.format not in FORMATS:
        raise BadInputError(f"{artifact.format} is not served.", f"export the model as one of {', '.join(FORMATS)}.")
    inspect(artifact)
    place = url or str((home() / "artifacts").absolute())
    digest = _store(place).put(artifact)
    made = Version(name, 0, digest, place, lineage(artifact), _certificate(artifact), 0, who())
    return registry.add(link, made)


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
