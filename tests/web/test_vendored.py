"""The files of others are what they say they are, with their licences, and call nobody."""

import hashlib
from pathlib import Path

import pennyweight.web
from pennyweight.web.paint import static

ROOM = Path(pennyweight.web.__file__).parent / "static"


def listed():
    lines = (ROOM / "VENDORED.txt").read_text().splitlines()
    return dict(reversed(line.split()) for line in lines if not line.startswith("#"))


def test_every_file_of_others_has_the_hash_that_is_written_down():
    assert len(listed()) == 5
    for name, digest in listed().items():
        assert hashlib.sha256((ROOM / name).read_bytes()).hexdigest() == digest, name


def test_every_minified_file_is_listed_with_a_licence_beside_it():
    minified = {path.name for path in ROOM.glob("*.min.*")}
    assert minified == {name for name in listed() if ".min." in name}
    for name in minified:
        assert (ROOM / f"{name.partition('.')[0]}.LICENSE").is_file()


def test_everything_that_is_served_is_in_the_package():
    for name, (kind, body) in static().items():
        assert body, name
        assert kind in {"text/javascript", "text/css", "image/svg+xml"}
