"""A checkpoint's tokenizer: the tokens of transformers, whole characters as they come, chats that run nothing."""

import json

import numpy as np
import pytest
from llamas import TEXT, write_llama
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import AutoTokenizer

from pennyweight.errors import BadInputError, CorruptError
from pennyweight.runtimes.hf.chat import ChatTemplate
from pennyweight.runtimes.hf.pieces import WindowPieces
from pennyweight.runtimes.hf.tokenizer import read_tokenizer

SAID = "Hellö wörld 中文 😀 \u0000 ok\n  three spaces"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_llama(tmp_path_factory.mktemp("words") / "tiny", layers=1, width=16)


@pytest.fixture(scope="module")
def tokenizer(folder):
    return read_tokenizer(folder, 384)


def told(tokenizer, tokens, before=()):
    pieces = tokenizer.pieces(before)
    return [pieces.put(int(each)) for each in tokens] + [pieces.end()]


def test_tokens_are_those_of_transformers_and_read_back_as_the_same_text(folder, tokenizer):
    theirs = AutoTokenizer.from_pretrained(folder)
    for text in (TEXT, SAID, ""):
        assert tokenizer.encode(text).tolist() == theirs(text)["input_ids"]
        assert tokenizer.decode(tokenizer.encode(text).tolist()) == text


def test_pieces_are_the_text_and_never_half_a_character(tokenizer):
    pieces = told(tokenizer, tokenizer.encode(SAID))
    assert "".join(pieces) == SAID
    assert "" in pieces[:-1]
    assert not any("\ufffd" in each for each in pieces)


def test_tokens_of_any_order_are_told_as_they_are_decoded_at_once(tokenizer):
    rng = np.random.default_rng(0)
    for _ in range(50):
        tokens = rng.integers(0, tokenizer.size, 40).tolist()
        assert "".join(told(tokenizer, tokens)) == tokenizer.decode(tokens)


def test_a_chat_is_put_together_as_transformers_does(folder, tokenizer):
    messages = [("system", "Be brief."), ("user", "{{ 7 * 7 }} <b>&amp;</b>"), ("assistant", "No."), ("user", "é")]
    theirs = AutoTokenizer.from_pretrained(folder).apply_chat_template(
        [{"role": role, "content": content} for role, content in messages],
        add_generation_prompt=True,
        return_dict=False,
    )
    assert tokenizer.chat(messages).tolist() == theirs


def test_without_a_template_a_chat_is_what_was_said_line_by_line(tmp_path):
    plain = read_tokenizer(write_llama(tmp_path / "plain", layers=1, width=16, chat=False), 384)
    assert plain.chat([("system", "ab"), ("user", "cd")]).tolist() == plain.encode("ab\ncd").tolist()


def test_the_ends_are_those_of_generation_and_of_the_tokenizer(tmp_path):
    folder = write_llama(tmp_path / "ends", layers=1, width=16)
    said = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps(said | {"eos_token_id": [7, 9]}))
    assert read_tokenizer(folder, 384).ends == {0, 7, 9}


def test_a_tokenizer_that_cuts_and_pads_is_told_not_to(folder, tmp_path):
    whole = Tokenizer.from_file(str(folder / "tokenizer.json"))
    whole.enable_truncation(4)
    whole.enable_padding(length=64)
    for each in folder.iterdir():
        (tmp_path / each.name).write_bytes(each.read_bytes())
    whole.save(str(tmp_path / "tokenizer.json"))
    found = read_tokenizer(tmp_path, 384)
    assert found.decode(found.encode(TEXT).tolist()) == TEXT


def test_a_token_beyond_the_models_vocabulary_is_refused(folder):
    with pytest.raises(BadInputError, match="does not know"):
        read_tokenizer(folder, 50).encode(TEXT)


@pytest.mark.parametrize("body", ["", "{}", "[1, 2]", '{"model": {"type": "none"}}'])
def test_a_damaged_tokenizer_is_said(folder, tmp_path, body):
    for each in folder.iterdir():
        (tmp_path / each.name).write_bytes(each.read_bytes())
    (tmp_path / "tokenizer.json").write_text(body)
    with pytest.raises(CorruptError, match="cannot be read"):
        read_tokenizer(tmp_path, 384)


def test_a_folder_without_a_tokenizer_is_refused(tmp_path):
    with pytest.raises(BadInputError, match="has no tokenizer"):
        read_tokenizer(tmp_path, 384)


@pytest.fixture(scope="module")
def spaced(tmp_path_factory):
    """A tokenizer as sentencepiece makes them: words begin with a mark for a space, what is unknown is bytes."""
    words = ["<unk>", "<s>", *(f"<0x{each:02X}>" for each in range(256)), "▁the", "▁mill", "s", "▁", "中"]
    codes = {word: at for at, word in enumerate(words)}
    made = Tokenizer(models.BPE(codes, [], unk_token="<unk>", byte_fallback=True))  # ruff: ignore[hardcoded-password-func-arg] - a token of text
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    made.pre_tokenizer = pre_tokenizers.Metaspace(split=False)
    made.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    made.add_special_tokens(["<unk>", "<s>"])
    folder = tmp_path_factory.mktemp("spaced")
    made.save(str(folder / "tokenizer.json"))
    return read_tokenizer(folder, len(words)), codes


def test_words_that_begin_with_a_space_are_told_as_they_are_decoded_at_once(spaced):
    found, codes = spaced
    assert not found.byte_level
    tokens = [
        codes[each] for each in ("▁the", "▁mill", "s", "<s>", "▁the", "<0xF0>", "<0x9F>", "<0x98>", "<0x80>", "s")
    ]
    assert "".join(told(found, tokens)) == found.decode(tokens) == "the mills the😀s"
    assert told(found, tokens)[5:9] == ["", "", "", "😀"]


def test_what_goes_on_after_a_text_keeps_its_space(spaced):
    found, codes = spaced
    before = [codes["▁the"]]
    assert told(found, [codes["▁mill"], codes["s"]], before) == [" mill", "s", ""]
    assert told(found, [codes["▁mill"], codes["s"]]) == ["mill", "s", ""]


def test_bytes_that_never_become_a_character_are_told_in_the_end(spaced):
    found, codes = spaced
    tokens = [codes["<0xE4>"]] * 40
    pieces = told(found, tokens)
    assert "".join(pieces) == "\ufffd" * 40
    assert any(pieces[:-1])


GROWING = (
    "{%% set it = namespace(x=%s) %%}{%% for a in range(99) %%}{%% set it.x = %s %%}{%% endfor %%}{{ [%s] | length }}"
)


def render(source, *messages):
    return ChatTemplate(source, {"bos_token": "<s>"}).render(messages or [("user", "hi")])


def test_a_template_has_what_model_folders_expect():
    source = """{%- for message in messages -%}
    {%- if loop.last %}{% continue %}{% endif -%}
    {{ bos_token + message['content'] | trim }}{{ message | tojson }}
    {%- generation %}said{% endgeneration -%}
    {%- endfor -%}{% set it = namespace(n=dict(a=1)) %}{{ it.n.a }}{{ strftime_now('%Y') | length }}"""
    said = render(source, ("user", " <é> "), ("assistant", "x"))
    assert said == '<s><é>{"role": "user", "content": " <é> "}said14'


@pytest.mark.parametrize(
    "source",
    [
        "{{ messages.__class__.__mro__[1].__subclasses__() }}",
        "{{ raise_exception.__globals__['json'] }}",
        "{{ strftime_now.__globals__['json'] }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ ''.__class__ }}{{ ('' | attr('__class__')).__mro__ }}",
        "{{ messages.append(1) }}",
        "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
        "{{ 'a' * 1000000000 }}",
        "{{ 9 ** 9999999 }}",
        "{% for a in range(99999) %}{{ 'a' * 100 }}{% endfor %}",
        "{% set it = namespace(x='ab') %}{% for a in range(99) %}{% set it.x = it.x ~ it.x %}{% endfor %}",
        "{% set it = namespace(x='ab') %}{% for a in range(99) %}{% set it.x = it.x + it.x %}{% endfor %}",
        "{% set it = namespace(x=[1]) %}{% for a in range(99) %}{% set it.x = it.x + it.x %}{% endfor %}",
        "{{ '%0999999999d' % 1 }}",
        "{{ 'a'.ljust(999999999) }}",
        "{{ 'a' | center(999999999) }}",
        "{{ '{:>999999999}'.format(1) }}",
        "{{ '{:>{}}'.format(1, 999999999) }}",
        "{{ '%0999999999d' | format(1) }}",
        "{{ '%*d' | format(999999999, 1) }}",
        "{{ messages | tojson(indent=999999999) }}",
        "{{ 'a' | indent(999999999, true) }}",
        "{{ [1] | batch(999999999, 0) | list }}",
        "{{ strftime_now('%999999999Y') }}",
        GROWING % ("'aaaaaaaaaa'", "it.x.replace('a', it.x)", ""),
        GROWING % ("'aaaaaaaaaa'", "it.x.join(it.x)", ""),
        GROWING % ("'a'", "it.x.translate({97: it.x + it.x})", ""),
        GROWING.replace("| length", "") % (1, "[it.x, it.x]", "it.x"),
        GROWING % (1, "[it.x, it.x]", "it.x | string"),
        GROWING % (1, "{1: it.x, 2: it.x}", "it.x ~ 1"),
        GROWING % (1, "[it.x, it.x]", "it.x | tojson"),
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
        "{% set x = range(999) | list %}{% for a in x %}{% for b in x %}{% endfor %}{% endfor %}",
        "{% for a in [[1]] recursive %}{{ loop([a, a]) }}{% endfor %}",
        "{{ raise_exception('roles must alternate') }}",
        "{{ messages[7].content.x }}",
    ],
)
def test_a_template_reaches_nothing_and_takes_no_more_than_a_chat_may(source):
    with pytest.raises(BadInputError, match="chat template refuses"):
        render(source)


def test_tokens_that_say_nothing_are_not_read_again_and_again(spaced):
    pieces = spaced[0].pieces()
    assert isinstance(pieces, WindowPieces)
    assert [pieces.put(9999) for _ in range(100)] == [""] * 100
    assert len(pieces._ids) < 40


def test_a_template_joins_texts_and_numbers():
    source = "{% set it = namespace(x='a') %}{% set it.x = it.x ~ 1 ~ ('b' + 'c') %}{{ it.x }}{{ 1 + 2 }}{{ 7 % 4 }}"
    assert render(source) == "a1bc33"


def test_a_template_may_lay_texts_out_as_templates_do():
    source = """{% for name, value in {'a': 1, 'b': [2, 'c']} | items %}{{ loop.index }}{{ name }}{{ value }}
    {%- endfor %}{{- '{:>3}'.format('x') ~ 'y'.ljust(2) ~ 'a-b'.replace('-', '+') ~ ', '.join(['p', 'q']) }}
    {{- 'long'.split('o')[-1] }}
    {{- ['u', 'v'] | map('upper') | join('|') }}{{ 'w' | indent(2, true) }}{{ messages | tojson(indent=1) | length }}"""
    assert render(source) == "1a12b[2, 'c']  xy a+bp, qngU|V  w45"


def test_what_a_template_says_against_messages_is_told():
    with pytest.raises(BadInputError, match="roles must alternate"):
        render("{{ raise_exception('roles must alternate') }}")


@pytest.mark.parametrize("source", ["{% if %}", "{{ }", "{% include 'x' %}{% endfor %}", "x" * 300_000])
def test_a_template_that_is_none_is_said(source):
    with pytest.raises(CorruptError, match="chat template"):
        ChatTemplate(source, {})
