"""Spoken keywords: which word is it, said by somebody the network has never heard.

    pennyweight optimize recipes/keywords.py --data DIR

DIR holds WORD_SPEAKER_NUMBER.wav, mono, 16 bits, all of one rate, such as the Free Spoken Digit Dataset (Z. Jackson and
others; 8 kHz). Each recording becomes an image: the logarithm of its energy in 32 bands of the mel scale every 16
milliseconds of a second. Speakers are dealt, not recordings: half of them to learn from, a quarter for the search, a
quarter for the certificate. With few speakers, as there, the certificate speaks of further recordings of those it was
given by, for nothing more can be known; with thirty or more to certify, it speaks of further speakers.

Cost and reached (control, one core of a cloud CPU, torch 2.13, 2,000 digits by four speakers, three seeds): 3 CPU
seconds to read them and 7 of training; of the speaker that selects 66% to 77% of the words, of the one that certifies
76% to 81%. Two speakers are few to learn from: more would help more than another network.
"""

from __future__ import annotations

import wave
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from pennyweight.core import Demand, Floor, Job, TrainSpec
from pennyweight.data.splits import Arrays, Splits, split
from pennyweight.errors import BadInputError
from pennyweight.jobs import torch_job

if TYPE_CHECKING:
    from pathlib import Path

BANDS, FRAMES = 32, 62
_FRAME_S, _STEP_S = 0.032, 0.016
_FAINT = 1e-3
_LOWEST_HZ = 60.0
_SPEAKERS = 30  # to certify, from which on they are what is counted, not their recordings


def network(words: int = 10) -> nn.Module:
    """Three convolutions with batch norm, a mean over time, dropout, one linear layer: 26,202 values for ten words."""
    return nn.Sequential(
        *_block(1, 16),
        *_block(16, 32),
        *_block(32, 64),
        nn.AvgPool2d((1, FRAMES // 8)),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(64 * (BANDS // 8), words),
    )


def _block(n_in: int, n_out: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(n_in, n_out, 3, padding=1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU(), nn.MaxPool2d(2)


def job(data: Path) -> Job:
    """The job on the folder `data`: AdamW at 2e-3 on one cycle, batches of 32, 12 epochs; 10 million words a year."""
    names, x, y, speakers = read(data)
    return torch_job(
        "keywords",
        lambda: network(len(names)),
        by_speaker(x, y, speakers),
        Floor("accuracy", 0.05),
        train=TrainSpec(epochs=12, batch=32, optimizer="adamw", lr=2e-3, weight_decay=0.01, schedule="onecycle"),
        demand=Demand(predictions=10e6),
    )


def read(folder: Path) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """The words there are, and of every recording its image (1, 32, 62), the number of its word and its speaker."""
    files = sorted(folder.glob("*.wav")) if folder.is_dir() else []
    if not files:
        raise BadInputError(f"There are no wav files in {folder}.", "give a folder of WORD_SPEAKER_NUMBER.wav.")
    parts = [file.stem.split("_") for file in files]
    odd = next((file for file, part in zip(files, parts, strict=True) if len(part) != 3), None)
    if odd is not None:
        raise BadInputError(f"{odd.name} does not say word and speaker.", "call it WORD_SPEAKER_NUMBER.wav.")
    words, speakers, _ = map(np.array, zip(*parts, strict=True))
    names, y = np.unique(words, return_inverse=True)
    return names.tolist(), np.stack([image(*samples(file)) for file in files])[:, None], y, speakers


def by_speaker(x: np.ndarray, y: np.ndarray, speakers: np.ndarray) -> Splits:
    """Three splits with no speaker in two of them."""
    if len(np.unique(speakers)) < 3:
        raise BadInputError("There are fewer than three speakers.", "give recordings of at least four.")
    parts = split(x, y, shares=(0.5, 0.25, 0.25), groups=speakers)
    if len(np.unique(parts.certify.groups)) >= _SPEAKERS:
        return parts
    select, certify = (Arrays(each.x, each.y) for each in (parts.select, parts.certify))
    return Splits(parts.train, select, certify)


def samples(path: Path) -> tuple[np.ndarray, int]:
    """The samples (N,) of a wav file in [-1, 1), and their rate in hertz."""
    try:
        with wave.open(str(path)) as file:
            if (file.getnchannels(), file.getsampwidth()) != (1, 2):
                raise BadInputError(f"{path.name} is not mono with 16 bits.", "convert it to 16-bit mono PCM.")
            return np.frombuffer(file.readframes(file.getnframes()), "<i2") / 2.0**15, file.getframerate()
    except (wave.Error, EOFError) as error:
        raise BadInputError(f"{path.name} is no wav file: {error}.", "leave it out or write it anew.") from error


def image(sound: np.ndarray, rate: int) -> np.ndarray:
    """The log-mel image (32, 62) of a sound of up to a second, the rest filled with zeros.

    Frames of 32 ms under a Hann window, 16 ms apart; triangles evenly spaced in mel, ``2595 · log10(1 + f / 700)``
    (O'Shaughnessy 1987). What is 30 dB below the loudest is not told apart, and every band has mean 0 over the sound:
    both take the room and the microphone out of it, without which unseen speakers are heard 15 points worse.
    """
    length, step = round(_FRAME_S * rate), round(_STEP_S * rate)
    sound = np.pad(sound, (0, max(0, length - len(sound))))[: (FRAMES - 1) * step + length]
    frames = np.lib.stride_tricks.sliding_window_view(sound, length)[::step]
    power = np.abs(np.fft.rfft(frames * np.hanning(length), axis=1)) ** 2 @ triangles(length, rate).T
    logs = np.log(power + _FAINT * power.max() + 1e-12).T
    centred = logs - logs.mean(axis=1, keepdims=True)
    whole = np.zeros((BANDS, FRAMES), np.float32)
    whole[:, : len(frames)] = centred / (centred.std() + 1e-6)
    return whole


def triangles(length: int, rate: int) -> np.ndarray:
    """The weights (32, length // 2 + 1) of the mel bands on the frequencies of a transform of `length` samples."""
    low, high = (2595 * np.log10(1 + hertz / 700) for hertz in (_LOWEST_HZ, rate / 2))
    edges = 700 * (10 ** (np.linspace(low, high, BANDS + 2) / 2595) - 1)
    frequencies = np.fft.rfftfreq(length, 1 / rate)
    rising = (frequencies - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - frequencies) / np.diff(edges)[1:, None]
    return np.maximum(0, np.minimum(rising, falling))
