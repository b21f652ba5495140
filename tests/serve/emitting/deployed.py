"""A deployment as the tests of its files have one, and one whose every name is hostile."""

from pennyweight.serve.emitting.capacity import Capacity
from pennyweight.serve.emitting.deployment import Deployment, Machine, Need, Size

MIB = 2**20
NEED = Need(100 * MIB, 20 * MIB, ("onnx",), ("/srv/models",))
HERE = Machine("amd-zen4", 0.04, 0.003, "price sheet local of 2026-07-20")
HOSTILE = "a\"b\n- evil: ${HOME} $(id) %h '; #\\"


def deployment(**more):
    facts = {
        "need": NEED,
        "capacity": Capacity(1e-4, 4e-4, 0.05),
        "machine": HERE,
        "size": Size(2, 12),
        "store": "t.db",
    }
    return Deployment(**{"models": ("digits", "words.v2@staging"), **facts, **more})


def hostile():
    """No registry and no file system lets all of this in; no file may depend on that."""
    need = Need(100 * MIB, 20 * MIB, (), (f"/srv/{HOSTILE}",))
    return deployment(models=(HOSTILE,), need=need, hosts=(HOSTILE,), machine=Machine(HOSTILE, 0.04, 0.0, HOSTILE))


def text(files, end):
    (found,) = [each.text for each in files if each.name.endswith(end)]
    return found
