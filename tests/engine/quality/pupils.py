"""A tiny model that has learnt a language of shuffled words, and a text of that language it has not seen."""

import numpy as np
from llamas import TEXT, write_llama

WORDS = TEXT.split()


def language(words, seed):
    return " ".join(np.random.default_rng(seed).choice(WORDS, words))


def teach(folder, steps=100):
    """Write a model that expects these words; about a second."""
    import torch

    from pennyweight.runtimes.hf import open_model, open_tokenizer

    torch.manual_seed(0)
    write_llama(folder, layers=1, width=32)
    model = open_model(folder).requires_grad_(requires_grad=True).train()
    ids = torch.tensor(open_tokenizer(folder)(language(6000, 0), verbose=False)["input_ids"])
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(steps):
        batch = torch.stack([ids[at : at + 65] for at in torch.randint(0, len(ids) - 65, (16,)).tolist()])
        optimizer.zero_grad()
        model(input_ids=batch, labels=batch).loss.backward()
        optimizer.step()
    model.save_pretrained(folder)
    return folder


def stirred(folder, to, noise, seed=1):
    """A copy of a model whose weights are moved by `noise` of their spread."""
    import shutil

    import torch
    from safetensors.torch import load_file, save_file

    shutil.copytree(folder, to)
    torch.manual_seed(seed)
    weights = load_file(to / "model.safetensors")
    moved = {
        name: each + noise * each.std() * torch.randn_like(each) for name, each in weights.items() if each.dim() > 1
    }
    save_file(weights | moved, to / "model.safetensors", {"format": "pt"})
    return to


def renumbered(folder, to):
    """The same model, whose tokens are numbered the other way round."""
    import json
    import shutil

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
        weights[name] = weights[name].flip(0).contiguous()
    save_file(weights, to / "model.safetensors", {"format": "pt"})
    return to
