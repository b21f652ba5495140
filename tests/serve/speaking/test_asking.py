"""What takes long to read is read aside, whichever part of the question is long."""

import pytest

from pennyweight.serve.speaking.asking import is_long
from pennyweight.serve.wire.openai_asked import Ask


@pytest.mark.parametrize(
    "more",
    [
        {"prompt": "a" * 10_001},
        {"prompt": (1,) * 10_001},
        {"messages": (("user", "a" * 10_001),)},
        {"messages": (("a" * 10_001, ""),)},
        {"messages": (("user", ""),) * 400},
    ],
)
def test_a_long_text_role_or_list_of_messages_is_long(more):
    assert is_long(Ask("gpt", **more))


def test_a_few_messages_are_not_long():
    assert not is_long(Ask("gpt", messages=(("user", "hello"),) * 20))
