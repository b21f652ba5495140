"""Language models as Hugging Face's folders: what of one becomes a version, and a version ready to be asked."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, final

from pennyweight.core import ServeSpec, Task
from pennyweight.errors import BadInputError, PennyweightError
from pennyweight.runtimes.guessing import NgramDraft
from pennyweight.runtimes.hf.embedding import FAMILIES
from pennyweight.runtimes.hf.folder import AGAIN, describe
from pennyweight.runtimes.hf.opening import open_drafted, open_embedder, open_hf, precision_for, runtime_for
from pennyweight.runtimes.hf.tokenizer import read_tokenizer
from pennyweight.serve.answering.lane import Lane
from pennyweight.serve.answering.shelf import Served
from pennyweight.serve.place import NGRAM, Drafted
from pennyweight.serve.speaking.choir import Choir
from pennyweight.serve.speaking.embedding import Embedder
from pennyweight.serve.speaking.guessing import Guessing
from pennyweight.serve.speaking.opening import prove_alike, prove_checked
from pennyweight.store import folders
from pennyweight.store.checkpoints import Checkpoint

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from pennyweight.store.team.registry import Version
    from pennyweight.store.team.usage import Price

FORMAT = "hf"
EMBEDDING = "embedding"
_TASKS = {"generate": Task.LANGUAGE.value, "embed": EMBEDDING}
_CONFIG, _INDEX = "config.json", "model.safetensors.index.json"
_BESIDE = frozenset(
    {
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "chat_template.jinja",
        "chat_template.json",
    }
)


@dataclass(frozen=True, slots=True)
class Way:
    """What runs a checkpoint, and in which precision; "" for what suits it."""

    runtime: str = ""
    precision: str = ""


def is_checkpoint(folder: Path) -> bool:
    """Whether a folder is laid out as Hugging Face's are, and is no artifact."""
    return (folder / _CONFIG).is_file() and not (folder / "manifest.json").exists()


def keep(folder: Path, root: Path, way: Way) -> tuple[str, dict[str, Any]]:
    """Copy what is served of a checkpoint below `root`: weights, config, tokenizer; the digest, and facts about it.

    Code, pickles and whatever else lies there stay where they are. Raises `BadInputError` for what cannot be served,
    `CorruptError` for files that are not whole or lead elsewhere; neither reads a weight.
    """
    found = Checkpoint.at(folder)
    said = describe(folder)
    if said.task not in _TASKS or (said.task == "embed" and said.family not in FAMILIES):
        raise BadInputError(
            f"{folder} neither continues texts nor makes vectors of them.",
            "give a checkpoint of a causal language model, or of an encoder without a head.",
        )
    if not said.vocabulary:
        raise BadInputError(f"config.json of {folder} does not say vocab_size.", AGAIN)
    tokenizer = read_tokenizer(folder, said.vocabulary)
    paths = [folder / _CONFIG, *found.shards, *(each for each in found.beside if each.name in _BESIDE)]
    paths += [folder / _INDEX] if (folder / _INDEX).exists() else []
    runtime = "torch" if said.task == "embed" else runtime_for(folder, way.runtime)
    serve = ServeSpec(runtime=runtime, precision=precision_for(said, runtime, way.precision))
    facts: dict[str, Any] = {
        "chats": tokenizer.template is not None,
        "classes": said.vocabulary,
        "family": said.family,
        "input_dtype": "int64",
        "input_shape": [said.context],
        "made": "hugging face",
        "outputs": "logits",
        "serve": asdict(serve),
        "task": _TASKS[said.task],
    }
    return folders.keep(root, FORMAT, {path.name: path.resolve() for path in paths}, facts), facts


def facts_of(version: Version) -> dict[str, Any] | None:
    """The facts about a version that is a checkpoint; None for any other."""
    if "://" in version.place:
        return None
    try:
        found = folders.about(Path(version.place), version.digest)
    except PennyweightError:  # whoever reads it next says what is wrong
        return None
    return dict(found["meta"]) if found["format"] == FORMAT else None


def ready(
    version: Version, facts: dict[str, Any], price: Price, pool: Executor, draft: Drafted | None = None
) -> Served:
    """Check every byte of a version, load it, let it warm up and prove that it goes on as it reads.

    With a `draft`, tokens that it guesses are checked several at once.
    """
    folder = folders.checked(Path(version.place), version.digest)
    serve = ServeSpec(**facts["serve"])
    if facts["task"] == EMBEDDING:
        model, reader = open_embedder(folder, serve)
        embedder, lane = Embedder(model, reader, pool), Lane(_Wordless(), pool)
        embedder.prove(str(version))
        return Served(version, lane, price, (model.context,), None, model.context, embedder=embedder)
    choir = _opened(folder, serve, pool, draft or Drafted())
    prove_alike(str(version), choir)
    prove_checked(str(version), choir)
    chorus = choir.chorus
    return Served(version, Lane(_Wordless(), pool), price, (chorus.context,), None, chorus.context, choir)


def _opened(folder: Path, serve: ServeSpec, pool: Executor, draft: Drafted) -> Choir:
    """What continues texts, with what guesses how they go on."""
    if draft.source in {"", NGRAM}:
        chorus, tokenizer = open_hf(folder, serve)
        guesses = Guessing(NgramDraft(), draft.tokens) if draft.source else None
        return Choir(chorus, tokenizer, pool, guessing=guesses)
    chorus, tokenizer, model = open_drafted(folder, serve, Path(draft.source))
    return Choir(chorus, tokenizer, pool, guessing=Guessing(model, draft.tokens))


@final
class _Wordless:
    """What the other protocol is answered: arrays of tokens are not what this model is asked with."""

    def predict(self, _: Any) -> NoReturn:
        """Refuse."""
        raise BadInputError("This model is asked by OpenAI's protocol, at /v1.", "send texts or chats there.")
