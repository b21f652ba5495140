"""Artifacts: whole or not there, and never anything but what was written."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pennyweight.core import Artifact
from pennyweight.errors import BadInputError, CorruptError, PennyweightError, UnknownNameError
from pennyweight.store.artifacts import ArtifactStore, load, save

WRITER = Path(__file__).with_name("writer.py")
MODEL = Artifact(
    "onnx",
    (("model.onnx", b"\x00weights\xff" * 50), ("b.bin", b"")),
    (("input_shape", [1, 8, 8]), ("task", "classify")),
)
NAMES = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,20}", fullmatch=True).filter(lambda name: name != "manifest.json")
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
FACTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
ARTIFACTS = st.builds(
    Artifact,
    st.sampled_from(["onnx", "torch", "sklearn"]),
    st.dictionaries(NAMES, st.binary(max_size=200), min_size=1, max_size=4).map(lambda files: tuple(files.items())),
    st.dictionaries(TEXT, FACTS, max_size=4).map(lambda facts: tuple(facts.items())),
)
FAST = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def store(tmp_path):
    return ArtifactStore(tmp_path / "artifacts")


@FAST
@given(ARTIFACTS)
def test_an_artifact_comes_back_as_it_went_in(tmp_path, artifact):
    store = ArtifactStore(tmp_path / "many")
    digest = store.put(artifact)
    again = store.get(digest)
    assert digest == artifact.digest == again.digest
    assert dict(again.files) == dict(artifact.files)
    assert again.facts == artifact.facts
    assert digest in store
    assert digest in list(store)


def test_putting_the_same_content_again_changes_nothing(store):
    digest = store.put(MODEL)
    before = (store.root / digest).stat().st_ino
    assert store.put(Artifact(MODEL.format, MODEL.files[::-1], MODEL.meta[::-1])) == digest
    assert (store.root / digest).stat().st_ino == before
    assert [path.name for path in store.root.iterdir()] == [digest]


def test_a_damaged_artifact_is_healed_by_putting_it_again(store):
    digest = store.put(MODEL)
    (store.root / digest / "model.onnx").write_bytes(b"half")
    with pytest.raises(CorruptError):
        store.get(digest)
    store.put(MODEL)
    assert store.get(digest).digest == digest
    assert [path.name for path in store.root.iterdir()] == [digest]


def test_an_unknown_digest_is_an_unknown_name_that_lists_what_there_is(store):
    digest = store.put(MODEL)
    for name in ("0" * 64, "model", "../" + digest, "", digest + "\n"):
        with pytest.raises(UnknownNameError, match="no artifact named"):
            store.get(name)
        assert name not in store
    with pytest.raises(UnknownNameError, match=digest):
        store.get(digest[:40])


def test_the_checksums_are_those_that_sha256sum_reads(store):
    folder = store.root / store.put(MODEL)
    tool = shutil.which("sha256sum")
    if tool is None:
        pytest.skip("sha256sum is not installed")
    assert subprocess.run([tool, "--check", "--strict", "SHA256SUMS"], cwd=folder, check=False).returncode == 0


@FAST
@given(where=st.integers(min_value=0, max_value=10**9), bit=st.integers(0, 7), name=st.integers(0, 3))
def test_any_flipped_bit_is_found(tmp_path, where, bit, name):
    folder = tmp_path / "flipped.pw"
    if not folder.exists():
        save(MODEL, folder)
    files = sorted(path for path in folder.iterdir() if path.stat().st_size)
    path = files[name % len(files)]
    body = bytearray(path.read_bytes())
    body[where % len(body)] ^= 1 << bit
    good, _ = path.read_bytes(), path.write_bytes(body)
    with pytest.raises(CorruptError, match=r"damaged|holds"):
        load(folder)
    path.write_bytes(good)
    assert load(folder).digest == MODEL.digest


@FAST
@given(keep=st.floats(0, 0.999), more=st.binary(max_size=3), name=st.integers(0, 3))
def test_any_truncated_lengthened_or_missing_file_is_found(tmp_path, keep, more, name):
    folder = tmp_path / "cut.pw"
    if not folder.exists():
        save(MODEL, folder)
    files = sorted(folder.iterdir())
    path = files[name % len(files)]
    good = path.read_bytes()
    for bad in (good[: int(len(good) * keep)], good + more):
        if bad == good:
            continue
        path.write_bytes(bad)
        with pytest.raises(CorruptError):
            load(folder)
    path.unlink()
    with pytest.raises(CorruptError, match="missing"):
        load(folder)
    path.write_bytes(good)
    assert load(folder).digest == MODEL.digest


@pytest.mark.parametrize(
    "name",
    [
        *("../x", "/etc/x", "a/b", "..", ".", "", ".hidden", "A", "a\\b", "a\0b", "ä", "a b", "%2e%2e", "file://x"),
        *("x" * 65, "manifest.json", "SHA256SUMS", "x\n"),
    ],
)
def test_a_file_name_that_could_lead_elsewhere_is_refused(store, name, tmp_path):
    canary = tmp_path / "x"
    with pytest.raises(BadInputError, match="cannot hold a file named") as error:
        store.put(Artifact("onnx", ((name, b"x"),)))
    assert "a-z" in error.value.fix
    assert not canary.exists()
    assert not store.root.exists()


@FAST
@given(st.text(max_size=80))
def test_no_text_names_a_file_outside(tmp_path, name):
    folder = tmp_path / "inside" / "x.pw"
    artifact = Artifact("onnx", (("model.onnx", b"1"), (name, b"2")))
    try:
        save(artifact, folder)
    except BadInputError:
        return
    assert sorted(path.name for path in tmp_path.rglob("*")) == sorted(
        ["inside", "x.pw", "SHA256SUMS", "manifest.json", "model.onnx", name]
    )
    shutil.rmtree(tmp_path / "inside")


def test_a_manifest_that_names_files_elsewhere_is_corrupt(tmp_path):
    (tmp_path / "secret").write_bytes(b"secret")
    folder = save(MODEL, tmp_path / "a.pw")
    for name in ("../secret", str(tmp_path / "secret")):
        manifest = (folder / "manifest.json").read_text()
        (folder / "manifest.json").write_text(manifest.replace("b.bin", name))
        with pytest.raises(CorruptError):
            load(folder)


@pytest.mark.parametrize(
    "text",
    [
        *("", "null", "[]", "{}", '{"files":{},"format":"onnx","meta":{}}', "[" * 200_000),
        '{"files":[],"format":1,"meta":2}',
        '{"files":{"a":{"byte":-1,"sha256":"' + "0" * 64 + '"}},"format":"onnx","meta":{}}',
        '{"files":{"a":{"byte":true,"sha256":"' + "0" * 64 + '"}},"format":"onnx","meta":{}}',
        '{"files":{"a":{"byte":1e999,"sha256":7}},"format":"onnx","meta":{}}',
    ],
)
def test_a_manifest_that_is_none_is_corrupt(tmp_path, text):
    folder = save(MODEL, tmp_path / "a.pw")
    (folder / "manifest.json").write_text(text)
    with pytest.raises(CorruptError, match="damaged"):
        load(folder)


def test_links_devices_and_pipes_are_refused(store, tmp_path):
    digest = store.put(MODEL)
    folder, real = store.root / digest, tmp_path / "real"
    real.write_bytes(MODEL.file("model.onnx"))
    for make in (lambda path: path.symlink_to(real), os.mkfifo, Path.mkdir):
        (folder / "model.onnx").unlink()
        make(folder / "model.onnx")
        with pytest.raises(CorruptError, match="link or a device"):
            store.get(digest)
        if (folder / "model.onnx").is_dir():
            (folder / "model.onnx").rmdir()
            (folder / "model.onnx").write_bytes(b"")
    link = tmp_path / "link.pw"
    link.symlink_to(folder)
    with pytest.raises(CorruptError, match="is a link"):
        load(link)
    with pytest.raises(BadInputError, match="is there already"):
        save(MODEL, link)


def test_a_file_larger_than_said_or_allowed_is_not_read(tmp_path):
    folder = save(MODEL, tmp_path / "a.pw")
    with pytest.raises(CorruptError, match="more than 10 bytes"):
        load(folder, most_byte=10)
    with (folder / "model.onnx").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(CorruptError, match="bytes, at most"):
        load(folder)


def test_what_no_folder_can_hold_is_refused(store):
    wrong = [(), (("a", b"1"), ("a", b"2")), tuple((f"f{n}", b"") for n in range(257))]
    for files in wrong:
        with pytest.raises(BadInputError, match="cannot be kept"):
            store.put(Artifact("onnx", files))
    for fact in (float("nan"), object(), {2: 2, 10: 3}, "\udcff", "x" * 5_000_000, {1: 1, "1": 2}):
        with pytest.raises(BadInputError, match="facts about an artifact"):
            store.put(Artifact("onnx", (("a", b"1"),), (("fact", fact),)))
    assert not store.root.exists()


def test_saving_replaces_an_artifact_in_one_step_but_nothing_else(tmp_path):
    folder = save(MODEL, tmp_path / "deep" / "winner.pw")
    better = Artifact("onnx", (("model.onnx", b"better"),))
    assert load(save(better, folder)).digest == better.digest
    assert [path.name for path in folder.parent.iterdir()] == ["winner.pw"]
    (folder / "mine.txt").write_text("precious")
    (tmp_path / "file").write_text("precious")
    for taken in (folder, tmp_path / "file", tmp_path):
        with pytest.raises(BadInputError, match="is there already") as error:
            save(MODEL, taken)
        assert "another name" in error.value.fix
    assert (folder / "mine.txt").read_text() == "precious"
    foreign = tmp_path / "extension"
    foreign.mkdir()
    (foreign / "manifest.json").write_text('{"name": "of something else"}')
    with pytest.raises(BadInputError, match="is there already"):
        save(MODEL, foreign)


def test_an_empty_folder_may_be_filled(tmp_path):
    (tmp_path / "winner.pw").mkdir()
    assert load(save(MODEL, tmp_path / "winner.pw")).digest == MODEL.digest


def test_a_folder_that_is_none_says_so(tmp_path):
    with pytest.raises(BadInputError, match="There is no artifact at"):
        load(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    for other in (tmp_path / "file", tmp_path):
        with pytest.raises(BadInputError, match="There is no artifact at"):
            load(other)
    with pytest.raises(PennyweightError):
        save(MODEL, tmp_path / "file" / "winner.pw")


def _kill_while_writing(command, target, rounds, each_s):
    """Kill a writer again and again, at ever other moments; returns what it has acknowledged."""
    said = []
    for number in range(rounds):
        arguments = [sys.executable, str(WRITER), command, str(target), str(number * 10_000)]
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
        said.append(process.stdout.readline())
        time.sleep(each_s * (1 + number / rounds))
        os.kill(process.pid, signal.SIGKILL)
        said += process.stdout.readlines()
        process.stdout.close()
        process.wait()
    return [line.strip() for line in said if line.endswith("\n")]


def test_a_writer_killed_at_any_moment_leaves_no_half_artifact(tmp_path):
    root = tmp_path / "artifacts"
    said = _kill_while_writing("artifacts", root, rounds=8, each_s=0.02)
    left = [path for path in root.iterdir() if path.name.startswith(".draft-")]
    store = ArtifactStore(root)
    seen = list(store)
    assert set(said) <= set(seen)
    assert len(seen) >= 8
    for digest in seen:
        assert store.get(digest).digest == digest
    for path in left:
        os.utime(path, (0, 0))
    ArtifactStore(root)
    assert not [path for path in root.iterdir() if path.name.startswith(".draft-")]
    assert list(ArtifactStore(root)) == seen


def test_a_saved_folder_is_whole_however_often_its_writer_is_killed(tmp_path):
    folder = tmp_path / "winner.pw"
    said = _kill_while_writing("save", folder, rounds=6, each_s=0.02)
    assert load(folder).facts["number"] >= int(said[-1])
    for path in tmp_path.iterdir():
        if path.name.startswith(".winner.pw.draft-"):
            os.utime(path, (0, 0))
    save(MODEL, folder)
    assert [path.name for path in tmp_path.iterdir()] == ["winner.pw"]


def test_drafts_in_use_or_brand_new_are_not_swept(tmp_path):
    from pennyweight.store import disk

    root = tmp_path / "artifacts"
    root.mkdir()
    (root / ".draft-new").mkdir()
    with disk.draft(root, ".draft-") as busy:
        (busy / "half").write_bytes(b"x")
        os.utime(busy, (0, 0))
        ArtifactStore(root)
        assert busy.exists()
    assert (root / ".draft-new").exists()
    assert not busy.exists()


FULL = """
import sys
from pathlib import Path
from pennyweight.core import Artifact
from pennyweight.errors import PennyweightError
from pennyweight.store.artifacts import ArtifactStore, save
root = Path(sys.argv[1])
small, large = Artifact("onnx", (("a.bin", b"x" * 100),)), Artifact("onnx", (("a.bin", b"x" * 3_000_000),))
store = ArtifactStore(root / "artifacts")
kept = store.put(small)
save(small, root / "winner.pw")
def attempts():
    yield lambda: store.put(large)
    yield lambda: save(large, root / "winner.pw")
    yield lambda: save(large, root / "new.pw")
for attempt in attempts():
    try:
        attempt()
    except PennyweightError as error:
        print(error.problem, "|", error.fix)
    else:
        sys.exit("there was room")
assert list(store) == [kept] and store.get(kept).digest == small.digest
print(sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.name != "a.bin"))
"""


def _check_full(done):
    assert done.returncode == 0, done.stderr
    *sentences, left = done.stdout.splitlines()
    assert len(sentences) == 3
    assert all("no room to write" in line and "free space" in line for line in sentences)
    assert "draft" not in left
    assert "new.pw" not in left
    assert not done.stderr


def test_a_full_disk_is_a_sentence_and_leaves_nothing_half_written(tmp_path):
    unshare = shutil.which("unshare")
    disk = tmp_path / "disk"
    disk.mkdir()
    inside = f'mount -t tmpfs -o size=1m tmpfs "{disk}" && exec "$@"'
    command = [unshare or "", "--user", "--map-root-user", "--mount", "sh", "-c", inside, "sh"]
    if not unshare or subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no small disk can be mounted here")
    script = [sys.executable, "-W", "error", "-c", FULL, str(disk)]
    _check_full(subprocess.run([*command, *script], capture_output=True, text=True, check=False))


def test_a_file_size_limit_is_a_sentence_and_leaves_nothing_half_written(tmp_path):
    script = [sys.executable, "-W", "error", "-c", FULL, str(tmp_path)]

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))

    _check_full(subprocess.run(script, capture_output=True, text=True, check=False, preexec_fn=limit))
