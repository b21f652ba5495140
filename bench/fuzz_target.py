"""What the fuzzer runs: the decoder of questions, with bytes that atheris thinks of; only refusals may come of it."""

import sys

import atheris

with atheris.instrument_imports(include=["pennyweight.serve.wire", "pennyweight.serve.refused"]):
    from pennyweight.serve.refused import RefusedError
    from pennyweight.serve.wire import oip

_BAD = 400
_MOST_WORDS = 400


class WrongError(Exception):
    """The decoder let something through that it must not."""


def ask(data: bytes) -> None:
    """The first two bytes say how long the header is said to be; what is read is also written."""
    said, body = int.from_bytes(data[:2], "little"), data[2:]
    for header in (None, said):
        try:
            asked = oip.read(body, header)
        except RefusedError as error:
            if error.status != _BAD or len(error.why) > _MOST_WORDS:
                raise WrongError(error.why) from error
            continue
        if not 0 < asked.rows.size <= oip.MOST_VALUES:
            raise WrongError(str(asked.rows.shape))
        oip.written(asked.rows, asked, "m", "1")


if __name__ == "__main__":
    atheris.Setup(sys.argv, ask)
    atheris.Fuzz()
