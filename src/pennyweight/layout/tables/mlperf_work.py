"""What one sample of each MLPerf training benchmark needs, and how many samples a run takes."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache

from pennyweight.catalog.models import model
from pennyweight.cost.nearest_model import nearest_model
from pennyweight.cost.transformer import training_flop
from pennyweight.errors import UnknownNameError

_NOT_LISTED = "not listed"


@dataclass(frozen=True, slots=True)
class Work:
    """The kind of network, and the FLOP of one sample, forward and backward.

    FLOP of transformers are counted from their dimensions. Those of other networks are rough; they only say where
    learning starts, and what is measured of the benchmark outweighs them.
    """

    kind: str
    flop: float


# The model of the catalog, the tokens of a sample and the share of three passes that is needed, as the rules of each
# benchmark say: adapters (LoRA) need no gradient of the frozen weights. Lengths were read in the READMEs of github
# mlcommons/training@aa344c7f; that texts of BERT fill about half of their 512 tokens was not.
_TRANSFORMERS = {
    "llama2_70b_lora": ("language", "llama-2-70b", 8192, 2 / 3),
    "llama31_8b": ("language", "llama-3.1-8b", 8192, 1.0),
    "llama31_405b": ("language", "llama-3.1-405b", 8192, 1.0),
    "gpt3": ("language", "gpt3-175b", 2048, 1.0),
    "bert": ("encoder", "bert-large", 256, 1.0),
}
# Three times what one sample takes forward. Counted from layers read there: RetinaNet (ResNeXt50, 800 x 800 pixels, 264
# classes: 4.0e11) and DLRM-DCNv2 (three crosses of 3,456 by 512 and both stacks: 3.2e7). The other two are guesses.
_OTHERS = {
    "stable_diffusion": ("diffusion", 2.4e12),
    "retinanet": ("detection", 1.2e12),
    "dlrm_dcnv2": ("recommender", 1e8),
    "rgat": ("graph", 1.5e10),
}
# Of benchmarks of other rounds, nothing of which was measured: a kind of their own. Counted: 3D U-Net (128 voxels a
# side, layers read there) and Flux (256 tokens of image and of text read there, its 57 blocks 3,072 wide entered by
# hand). `ssd` is RetinaNet. The others are guesses.
_ROUGH = {
    "flux1": 2e13,
    "gnn": 1.5e10,
    "ssd": 1.2e12,
    "maskrcnn": 1.1e12,
    "resnet": 2.5e10,
    "unet3d": 2.9e12,
    "rnnt": 1e11,
    "dlrm_dcn": 1e8,
}
_LENGTH = 8192  # tokens of a sample of language models that are not listed

# Images that RetinaNet sees before it reaches its quality: 4.2 times the 1,170,301 of its training set (by its README
# it reaches 0.34 mAP after four to five).
RETINANET_SAMPLES = 4.2 * 1_170_301


@cache
def work_of(benchmark: str) -> Work:
    """The work of a benchmark; of one that is not listed, that of the model or the benchmark of the nearest name."""
    if benchmark in _TRANSFORMERS:
        kind, name, tokens, passes = _TRANSFORMERS[benchmark]
        return Work(kind, float(training_flop(model(name), tokens)) * passes)
    if benchmark in _OTHERS:
        return Work(*_OTHERS[benchmark])
    if benchmark in _ROUGH:
        return Work(_NOT_LISTED, _ROUGH[benchmark])
    try:
        return Work("language", float(training_flop(nearest_model(benchmark).dims, _LENGTH)))
    except UnknownNameError:
        (near,) = get_close_matches(benchmark, [*_TRANSFORMERS, *_OTHERS, *_ROUGH], n=1, cutoff=0.0)
    return Work(_NOT_LISTED, work_of(near).flop)
