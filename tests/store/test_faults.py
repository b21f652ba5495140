"""Disks that fail now and then, by injecting errors into the system calls themselves."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

STRACE = shutil.which("strace")
PUT = """
import sys
from pennyweight.core import Artifact
from pennyweight.errors import PennyweightError
from pennyweight.store.artifacts import ArtifactStore, load, save
store, kept, failed, saved = ArtifactStore(sys.argv[1] + "/artifacts"), set(), 0, None
for number in range(30):
    artifact = Artifact("onnx", (("a.bin", b"x" * number), ("b.bin", b"y")))
    try:
        kept.add(store.put(artifact))
        save(artifact, sys.argv[1] + "/winner.pw")
        saved = artifact.digest
    except PennyweightError as error:
        failed += 1
        assert error.fix
    seen = list(store)
    assert kept <= set(seen)
    assert all(store.get(digest).digest == digest for digest in seen)
    assert saved is None or load(sys.argv[1] + "/winner.pw").files
assert not [path for path in store.root.iterdir() if path.name.startswith(".")]
print(len(kept), failed)
"""
APPEND = """
import sys
from pennyweight.core import Cost, Phase
from pennyweight.errors import PennyweightError
from pennyweight.store.ledger import Ledger
from pennyweight.store.records import Entry
said, failed = [], 0
for number in range(30):
    try:
        with Ledger(sys.argv[1] + "/ledger.db") as ledger:
            ledger.append(Entry("s", "job", Phase.TRAIN, Cost(), note={"number": number}))
            said.append(number)
    except PennyweightError as error:
        failed += 1
        assert error.fix
print(len(said), failed, *said)
"""
CHECK_PUT = """
import sys
from pennyweight.store.artifacts import ArtifactStore
store = ArtifactStore(sys.argv[1] + "/artifacts")
assert all(store.get(digest).digest == digest for digest in store)
"""
CHECK_APPEND = """
import sys
from pennyweight.store.ledger import Ledger
with Ledger(sys.argv[1] + "/ledger.db") as ledger:
    ledger.check()
    found = [entry.note["number"] for entry in ledger]
assert set(map(int, sys.argv[2:])) <= set(found) and len(found) == len(set(found)), found
"""


@pytest.mark.parametrize("fault", ["EIO", "ENOSPC"])
@pytest.mark.parametrize(
    ("script", "check", "calls", "when"),
    [
        (PUT, CHECK_PUT, "fsync,rename", "3+17"),
        (PUT, CHECK_PUT, "mkdir,renameat2", "2+7"),
        (APPEND, CHECK_APPEND, "fsync,fdatasync,pwrite64", "60+41"),
    ],
    ids=["flush", "make", "ledger"],
)
def test_a_failing_disk_loses_nothing_that_was_acknowledged(tmp_path, script, check, calls, when, fault):
    strace = [STRACE or "", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={calls}"]
    if not STRACE or subprocess.run([*strace, "true"], capture_output=True, check=False).returncode:
        pytest.skip("system calls cannot be made to fail here")
    python = [sys.executable, "-W", "error", "-c"]
    failing = [*strace, "-e", f"inject={calls}:error={fault}:when={when}", *python, script, str(tmp_path)]
    done = subprocess.run(failing, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    kept, failed, *said = done.stdout.split()
    assert int(kept) > 0
    assert int(failed) > 0
    done = subprocess.run([*python, check, str(tmp_path), *said], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
