# ruff: file-ignore[undocumented-public-method]
"""Twenty small networks of the kinds people use, written out in plain PyTorch: what the counter is checked on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as fn

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Architecture:
    """A network by name, how to make it at a given width, and the shape and type of one example."""

    name: str
    make: Callable[[int], nn.Module]
    shape: tuple[int, ...]
    dtype: str = "float32"


def lenet(w: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, w, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(w, 2 * w, 5), nn.Tanh(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(2 * w * 25, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, 10),
    )  # fmt: skip


def vgg(w: int) -> nn.Module:
    layers: list[nn.Module] = []
    n_in = 3
    for n_out, repeats in ((w, 2), (2 * w, 2), (4 * w, 3)):
        for _ in range(repeats):
            layers += [nn.Conv2d(n_in, n_out, 3, padding=1), nn.BatchNorm2d(n_out), nn.ReLU(inplace=True)]
            n_in = n_out
        layers.append(nn.MaxPool2d(2))
    head = [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16 * w, 64), nn.ReLU(), nn.Dropout(), nn.Linear(64, 10)]
    return nn.Sequential(*layers, *head)


class Residual(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        changes = stride > 1 or n_in != n_out
        short = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))
        self.short: nn.Module = short if changes else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.bn2(self.conv2(fn.relu(self.bn1(self.conv1(x)))))
        return fn.relu(y + self.short(x))


def resnet(w: int) -> nn.Module:
    stem = [nn.Conv2d(3, w, 7, 2, 3, bias=False), nn.BatchNorm2d(w), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    blocks = [Residual(w, w, 1), Residual(w, w, 1), Residual(w, 2 * w, 2), Residual(2 * w, 2 * w, 1)]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2 * w, 10))


class Inverted(nn.Module):
    """Widen, convolve each channel on its own, narrow."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        wide = 4 * n_in
        self.body = nn.Sequential(
            nn.Conv2d(n_in, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU6(),
            nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False), nn.BatchNorm2d(wide), nn.ReLU6(),
            nn.Conv2d(wide, n_out, 1, bias=False), nn.BatchNorm2d(n_out),
        )  # fmt: skip
        self.adds = stride == 1 and n_in == n_out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(x) if self.adds else self.body(x)


def mobilenet(w: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, w, 3, 2, 1), nn.BatchNorm2d(w), nn.Hardswish(), Inverted(w, w, 1), Inverted(w, 2 * w, 2),
        Inverted(2 * w, 2 * w, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2 * w, 10),
    )  # fmt: skip


class Dense(nn.Module):
    """Each layer sees the outputs of all before it."""

    def __init__(self, n_in: int, growth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(n_in + i * growth), nn.ReLU(), nn.Conv2d(n_in + i * growth, growth, 3, 1, 1))
            for i in range(3)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = torch.cat((x, layer(x)), 1)
        return x


def densenet(w: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 2 * w, 3, 1, 1), Dense(2 * w, w), nn.Conv2d(5 * w, 2 * w, 1), nn.AvgPool2d(2), Dense(2 * w, w),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5 * w, 10),
    )  # fmt: skip


class UNet(nn.Module):
    """Down, up again by transposed convolutions, with shortcuts across."""

    def __init__(self, w: int) -> None:
        super().__init__()
        self.down1, self.down2 = nn.Conv2d(1, w, 3, 1, 1), nn.Conv2d(w, 2 * w, 3, 2, 1)
        self.middle = nn.Conv2d(2 * w, 4 * w, 3, 2, 1)
        self.up2 = nn.ConvTranspose2d(4 * w, 2 * w, 2, 2)
        self.join2 = nn.Conv2d(4 * w, 2 * w, 3, 1, 1)
        self.up1 = nn.ConvTranspose2d(2 * w, w, 3, 2, 1, output_padding=1)
        self.join1 = nn.Conv2d(2 * w, w, 3, 1, 1)
        self.out = nn.Conv2d(w, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        one = fn.relu(self.down1(x))
        two = fn.relu(self.down2(one))
        y = self.up2(fn.relu(self.middle(two)))
        y = fn.relu(self.join2(torch.cat((two, y), 1)))
        return self.out(fn.relu(self.join1(torch.cat((one, self.up1(y)), 1))))


class Next(nn.Module):
    """A depthwise 7×7 convolution and a wide pair of linear layers, scaled, added."""

    def __init__(self, w: int) -> None:
        super().__init__()
        self.depth, self.norm = nn.Conv2d(w, w, 7, padding=3, groups=w), nn.LayerNorm(w)
        self.up, self.down = nn.Linear(w, 4 * w), nn.Linear(4 * w, w)
        self.scale = nn.Parameter(torch.full((w,), 1e-6))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(self.depth(x).permute(0, 2, 3, 1))
        return x + (self.scale * self.down(fn.gelu(self.up(y)))).permute(0, 3, 1, 2)


def convnext(w: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, w, 4, 4), Next(w), Next(w), nn.Conv2d(w, 2 * w, 2, 2), Next(2 * w), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.LayerNorm(2 * w), nn.Linear(2 * w, 10),
    )  # fmt: skip


class Excite(nn.Module):
    """Weigh the channels by what is seen in all of them."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(n_in, n_out, 3, 1, 1), nn.GroupNorm(4, n_out)
        self.squeeze, self.excite = nn.Linear(n_out, n_out // 4), nn.Linear(n_out // 4, n_out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = fn.silu(self.norm(self.conv(x)))
        weight = torch.sigmoid(self.excite(fn.relu(self.squeeze(y.mean((2, 3))))))
        return y * weight[:, :, None, None]


def squeeze_excite(w: int) -> nn.Module:
    return nn.Sequential(
        Excite(3, w), nn.MaxPool2d(2), Excite(w, 2 * w), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(2 * w, 10)
    )


class Attention(nn.Module):
    """Causal self-attention, by default with as many key heads as query heads."""

    def __init__(self, w: int, heads: int, key_heads: int = 0) -> None:
        super().__init__()
        self.heads, self.key_heads, self.depth = heads, key_heads or heads, w // heads
        self.q = nn.Linear(w, w)
        self.kv = nn.Linear(w, 2 * self.key_heads * self.depth)
        self.proj = nn.Linear(w, w)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, t, w = x.shape
        q = self.q(x).view(b, t, self.heads, self.depth).transpose(1, 2)
        k, v = self.kv(x).view(b, t, 2, self.key_heads, self.depth).permute(2, 0, 3, 1, 4)
        y = fn.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=self.key_heads != self.heads)
        return self.proj(y.transpose(1, 2).reshape(b, t, w))


class Gated(nn.Module):
    """A gated feed-forward network."""

    def __init__(self, w: int) -> None:
        super().__init__()
        self.gate, self.up, self.down = (nn.Linear(*s, bias=False) for s in ((w, 3 * w), (w, 3 * w), (3 * w, w)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(fn.silu(self.gate(x)) * self.up(x))


class Experts(nn.Module):
    """Four gated networks, all evaluated, mixed by a router."""

    def __init__(self, w: int) -> None:
        super().__init__()
        self.route = nn.Linear(w, 4)
        self.up, self.down = nn.Parameter(torch.randn(4, w, 2 * w)), nn.Parameter(torch.randn(4, 2 * w, w))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        share = self.route(x).softmax(-1)
        y = torch.einsum("btw,ewh->ebth", x, self.up)
        y = torch.einsum("ebth,ehw->ebtw", fn.gelu(y), self.down)
        return torch.einsum("bte,ebtw->btw", share, y)


class Block(nn.Module):
    """Attention, then a feed-forward network, each normalised and added."""

    def __init__(self, w: int, mix: nn.Module, feed: nn.Module, norm: type[nn.Module] = nn.LayerNorm) -> None:
        super().__init__()
        self.norm1, self.mix, self.norm2, self.feed = norm(w), mix, norm(w), feed

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x + self.mix(self.norm1(x))
        return y + self.feed(self.norm2(y))


def feed(w: int) -> nn.Module:
    return nn.Sequential(nn.Linear(w, 4 * w), nn.GELU(), nn.Linear(4 * w, w))


class Language(nn.Module):
    """Tokens in, scores of the next token out, with tied embeddings."""

    def __init__(self, w: int, blocks: list[nn.Module], *, tied: bool = True) -> None:
        super().__init__()
        self.token, self.place = nn.Embedding(97, w), nn.Embedding(64, w)
        self.blocks, self.norm = nn.ModuleList(blocks), nn.LayerNorm(w)
        self.head = nn.Linear(w, 97, bias=False)
        if tied:
            self.head.weight = self.token.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.token(x) + self.place(torch.arange(x.shape[1], device=x.device))
        for block in self.blocks:
            y = block(y)
        return self.head(self.norm(y))


def gpt(w: int) -> nn.Module:
    return Language(w, [Block(w, Attention(w, 4), feed(w)) for _ in range(4)])


def llama_gqa(w: int) -> nn.Module:
    return Language(w, [Block(w, Attention(w, 4, 2), Gated(w), nn.RMSNorm) for _ in range(3)], tied=False)


def moe(w: int) -> nn.Module:
    return Language(w, [Block(w, Attention(w, 4), Experts(w)) for _ in range(2)])


def bert(w: int) -> nn.Module:
    layer = nn.TransformerEncoderLayer(w, 4, 4 * w, activation="gelu", batch_first=True)
    return nn.Sequential(nn.Embedding(97, w), nn.TransformerEncoder(layer, 3), nn.Linear(w, 97))


class ViT(nn.Module):
    """An image as a sentence of patches."""

    def __init__(self, w: int) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, w, 4, 4)
        self.cls, self.place = nn.Parameter(torch.zeros(1, 1, w)), nn.Parameter(torch.zeros(1, 65, w))
        layer = nn.TransformerEncoderLayer(w, 4, 2 * w, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
        self.head = nn.Linear(w, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.patch(x).flatten(2).transpose(1, 2)
        y = torch.cat((self.cls.expand(len(y), -1, -1), y), 1) + self.place
        return self.head(self.encoder(y)[:, 0])


class Crossing(nn.Module):
    """A decoder that attends to the first half of its input from the second."""

    def __init__(self, w: int) -> None:
        super().__init__()
        layer = nn.TransformerDecoderLayer(w, 4, 2 * w, batch_first=True)
        self.decoder, self.head = nn.TransformerDecoder(layer, 2), nn.Linear(w, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        memory, target = x[:, :20], x[:, 20:]
        return self.head(self.decoder(target, memory))


def cross_attention(w: int) -> nn.Module:
    return nn.Sequential(nn.Linear(6, w), Crossing(w))


def mlp(w: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(30, w), nn.BatchNorm1d(w), nn.ReLU(), nn.Linear(w, w), nn.PReLU(), nn.Linear(w, 2), nn.Softmax(-1)
    )


class Mixing(nn.Module):
    """One network across positions, one across channels."""

    def __init__(self, t: int, w: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(w), nn.LayerNorm(w)
        self.across = nn.Sequential(nn.Linear(t, 2 * t), nn.GELU(), nn.Linear(2 * t, t))
        self.along = feed(w)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x + self.across(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return y + self.along(self.norm2(y))


class Mixer(nn.Module):
    """Patches mixed by nothing but linear layers."""

    def __init__(self, w: int) -> None:
        super().__init__()
        self.patch, self.blocks = nn.Conv2d(3, w, 8, 8), nn.ModuleList(Mixing(16, w) for _ in range(3))
        self.head = nn.Linear(w, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.patch(x).flatten(2).transpose(1, 2)
        for block in self.blocks:
            y = block(y)
        return self.head(y.mean(1))


def autoencoder(w: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, w, 3, 2, 1), nn.ReLU(), nn.Conv2d(w, 2 * w, 3, 2, 1), nn.ReLU(), nn.Flatten(),
        nn.Linear(2 * w * 49, 16), nn.Linear(16, 2 * w * 49), nn.Unflatten(1, (2 * w, 7, 7)),
        nn.ConvTranspose2d(2 * w, w, 4, 2, 1), nn.ReLU(), nn.Upsample(scale_factor=2), nn.Conv2d(w, 1, 3, 1, 1),
    )  # fmt: skip


class Recurrent(nn.Module):
    """A recurrent network that answers with its last state."""

    def __init__(self, body: nn.Module, n_out: int) -> None:
        super().__init__()
        self.body, self.head = body, nn.Linear(n_out, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x)[0][:, -1])


def lstm(w: int) -> nn.Module:
    return Recurrent(nn.LSTM(12, w, 2, batch_first=True, bidirectional=True), 2 * w)


def gru(w: int) -> nn.Module:
    return Recurrent(nn.GRU(12, w, 2, batch_first=True), w)


class Causal(nn.Module):
    """A dilated convolution over time that never looks ahead, beside a shortcut."""

    def __init__(self, w: int, dilation: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(w, w, 3, padding=2 * dilation, dilation=dilation)
        self.cut = 2 * dilation

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + fn.relu(self.conv(x)[..., : -self.cut])


def tcn(w: int) -> nn.Module:
    blocks = (Causal(w, 2**i) for i in range(4))
    return nn.Sequential(nn.Conv1d(12, w, 1), *blocks, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(w, 3))


ARCHITECTURES = (
    Architecture("lenet", lenet, (1, 28, 28)),
    Architecture("vgg", vgg, (3, 32, 32)),
    Architecture("resnet", resnet, (3, 64, 64)),
    Architecture("mobilenet", mobilenet, (3, 64, 64)),
    Architecture("densenet", densenet, (3, 32, 32)),
    Architecture("unet", UNet, (1, 32, 32)),
    Architecture("convnext", convnext, (3, 64, 64)),
    Architecture("squeeze_excite", squeeze_excite, (3, 32, 32)),
    Architecture("gpt", gpt, (48,), "int64"),
    Architecture("bert", bert, (40,), "int64"),
    Architecture("vit", ViT, (3, 32, 32)),
    Architecture("llama_gqa", llama_gqa, (48,), "int64"),
    Architecture("moe", moe, (48,), "int64"),
    Architecture("cross_attention", cross_attention, (32, 6)),
    Architecture("mlp", mlp, (30,)),
    Architecture("mixer", Mixer, (3, 32, 32)),
    Architecture("autoencoder", autoencoder, (1, 28, 28)),
    Architecture("lstm", lstm, (25, 12)),
    Architecture("gru", gru, (25, 12)),
    Architecture("tcn", tcn, (12, 100)),
)
