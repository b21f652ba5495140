"""Small checkpoints of random weights in Hugging Face's layout, written without the product's own code."""

import json

import numpy as np

KINDS = {"BF16": "<u2", "F16": "<f2", "F32": "<f4", "I8": "i1"}


def weights(rng, shape, dtype="BF16"):
    drawn = (rng.standard_normal(shape) * 0.02).astype("<f4")
    if dtype == "BF16":
        return (drawn.view("<u4") >> 16).astype("<u2")
    return (drawn * 1000).astype("i1") if dtype == "I8" else drawn.astype(KINDS[dtype])


def save(path, tensors):
    """Write {name: (dtype, array)} as safetensors."""
    head, at = {}, 0
    for name, (dtype, array) in tensors.items():
        head[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [at, at + array.nbytes]}
        at += array.nbytes
    text = json.dumps(head).encode()
    path.write_bytes(
        len(text).to_bytes(8, "little") + text + b"".join(array.tobytes() for _, array in tensors.values())
    )


def named(layers=2, hidden=256, ffn=512, vocab=96):
    """Names and shapes of a small Llama."""
    shapes = {"model.embed_tokens.weight": (vocab, hidden), "model.norm.weight": (hidden,)}
    for number in range(layers):
        at = f"model.layers.{number}."
        shapes |= {f"{at}self_attn.{name}_proj.weight": (hidden, hidden) for name in "qo"}
        shapes |= {f"{at}self_attn.{name}_proj.weight": (hidden // 2, hidden) for name in "kv"}
        shapes |= {f"{at}mlp.{name}_proj.weight": (ffn, hidden) for name in ("gate", "up")}
        shapes[f"{at}mlp.down_proj.weight"] = (hidden, ffn)
        shapes |= {f"{at}{name}_layernorm.weight": (hidden,) for name in ("input", "post_attention")}
    return {**shapes, "lm_head.weight": (vocab, hidden)}


def config(layers=2, hidden=256, ffn=512, vocab=96):
    return {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": hidden,
        "intermediate_size": ffn,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": vocab,
        "max_position_embeddings": 64,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
    }


def write(folder, dtype="BF16", shards=2, **sizes):
    """A checkpoint of `shards` files with an index, or of one without; returns {name: (dtype, array)}."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(1)
    tensors = {name: (dtype, weights(rng, shape, dtype)) for name, shape in named(**sizes).items()}
    (folder / "config.json").write_text(json.dumps(config(**sizes)))
    (folder / "tokenizer.json").write_text('{"version": "1.0"}')
    (folder / "run_me.py").write_text("raise SystemExit('a checkpoint was executed')")
    if shards == 1:
        save(folder / "model.safetensors", tensors)
        return tensors
    index = {}
    for number in range(shards):
        file = f"model-{number + 1:05d}-of-{shards:05d}.safetensors"
        part = dict(list(tensors.items())[number::shards])
        save(folder / file, part)
        index |= dict.fromkeys(part, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    return tensors


def as_float(dtype, array):
    if dtype == "BF16":
        return (array.astype("<u4") << 16).view("<f4")
    return array.astype("<f4")
