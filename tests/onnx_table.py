"""What torch knows of ONNX is read once in a process, not again at every export.

For each export torch reads and translates the source of a thousand functions, most of what a small network takes.
Every export still has a table of its own to change; only what stands in it is the same.
"""

import sys

_NAME = "torch.onnx._internal.exporter._registration"


def read_once():
    """From now on; nothing is done where torch has not been asked for an export yet."""
    kind = getattr(sys.modules.get(_NAME), "ONNXRegistry", None)
    plain = getattr(kind, "from_torchlib", None)
    if plain is None or getattr(plain, "read_once", False):
        return
    known = {}

    def from_torchlib(cls, *args, **kwargs):
        key = args, tuple(kwargs.items())
        if key not in known:
            known[key] = plain(*args, **kwargs)
        own = cls()
        vars(own).update(vars(known[key]))
        own.functions = {target: list(each) for target, each in known[key].functions.items()}
        return own

    from_torchlib.read_once = True
    kind.from_torchlib = classmethod(from_torchlib)
