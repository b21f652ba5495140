"""A process to be killed: it writes artifacts or entries as fast as it can and says what has been acknowledged."""

import os
import sys
from pathlib import Path


def artifacts(root: str, start: str) -> None:
    from pennyweight.core import Artifact
    from pennyweight.store.artifacts import ArtifactStore

    store = ArtifactStore(root)
    for number in range(int(start), 10**9):
        body = str(number).encode() * 60_000
        files = (("model.onnx", body), ("weights.safetensors", body[::-1]), ("empty.bin", b""))
        say(store.put(Artifact("onnx", files, (("number", number),))))


def save(folder: str, start: str) -> None:
    from pennyweight.core import Artifact
    from pennyweight.store.artifacts import save as write

    for number in range(int(start), 10**9):
        write(Artifact("onnx", (("model.onnx", str(number).encode() * 60_000),), (("number", number),)), folder)
        say(str(number))


def entries(path: str, session: str) -> None:
    from pennyweight.core import Cost, Phase
    from pennyweight.store.ledger import Ledger
    from pennyweight.store.records import Entry

    ledger = Ledger(path)
    for number in range(int(os.environ.get("COUNT", "1000000"))):
        ledger.append(Entry(session, "job", Phase.TRAIN, Cost(wall_s=number), note={"number": number}))
        say(f"{session} {number}")


def say(what: str) -> None:
    os.write(1, f"{what}\n".encode())


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))
    globals()[sys.argv[1]](*sys.argv[2:])
