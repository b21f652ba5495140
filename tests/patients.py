"""A tiny model that has learnt a language of shuffled words, and the same with a block taken out."""

import json
import shutil

import numpy as np
from llamas import TEXT, settings_of, write_llama

WORDS = TEXT.split()


def language(words, seed):
    """Words that follow each other in pairs: after each of them one of four is far likelier than others."""
    rng = np.random.default_rng(seed)
    found = [0]
    for _ in range(words - 1):
        found.append((found[-1] * 7 + int(rng.integers(4))) % len(WORDS))
    return " ".join(WORDS[at] for at in found)


def taught(folder, steps=60, family="llama", **shape):
    """Write a model that expects these words; about a second."""
    import torch

    from pennyweight.runtimes.hf import open_model, open_tokenizer

    torch.manual_seed(0)
    write_llama(folder, family=family, **{"layers": 3, "width": 32, **shape, "dtype": "float32"})
    model = open_model(folder).requires_grad_(requires_grad=True).train()
    ids = torch.tensor(open_tokenizer(folder)(language(6000, 0), verbose=False)["input_ids"])
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    for _ in range(steps):
        batch = torch.stack([ids[at : at + 33] for at in torch.randint(0, len(ids) - 33, (16,)).tolist()])
        optimizer.zero_grad()
        model(input_ids=batch, labels=batch).loss.backward()
        optimizer.step()
    model.to(getattr(torch, shape.get("dtype", "float32"))).save_pretrained(folder)
    return folder


def cut(folder, to, block=1):
    """A copy of a checkpoint of one file without that block."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(folder, to)
    found, settings = {}, settings_of(folder)
    if "layer_types" in settings:
        del settings["layer_types"][block]
    depth = "n_layer" if "n_layer" in settings else "num_hidden_layers"
    for name, weight in load_file(to / "model.safetensors").items():
        parts = name.split(".")
        at = next((place for place, part in enumerate(parts) if part.isdigit()), None)
        if at is not None and int(parts[at]) == block:
            continue
        if at is not None and int(parts[at]) > block:
            parts[at] = str(int(parts[at]) - 1)
        found[".".join(parts)] = weight
    save_file(found, to / "model.safetensors", {"format": "pt"})
    (to / "config.json").write_text(json.dumps({**settings, depth: settings[depth] - 1}))
    return to


def renumbered(folder, to):
    """The same model, whose tokens are numbered the other way round and whose last two numbers no token has."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(folder, to)
    said = json.loads((to / "tokenizer.json").read_text())
    last = len(said["model"]["vocab"]) - 1
    said["model"]["vocab"] = {name: last - at for name, at in said["model"]["vocab"].items()}
    for each in said["added_tokens"]:
        each["id"] = last - each["id"]
    (to / "tokenizer.json").write_text(json.dumps(said))
    weights = load_file(to / "model.safetensors")
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        turned = weights[name][: last + 1].flip(0)
        weights[name] = turned.new_zeros(last + 3, turned.shape[1])
        weights[name][: last + 1] = turned
    save_file(weights, to / "model.safetensors", {"format": "pt"})
    (to / "config.json").write_text(json.dumps({**settings_of(folder), "vocab_size": last + 3}))
    return to
