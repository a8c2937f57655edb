"""Streams of random numbers, one for each (seed, key), that no two images or updates share.

PyTorch's CPU generator is a Mersenne twister whose `manual_seed` uses the low 32 bits of its argument only: among the
images of a set of 10,000, two would have the same noise with a chance of 1 %. So all 624 words of its state are filled
from NumPy's `SeedSequence` (https://numpy.org/doc/stable/reference/random/parallel.html), which mixes its words so that
near seeds give independent streams. The key is a spawn key, since only before one is a seed padded to a fixed number
of words: as one list of words, [seed, 1] and [seed, 1, 0] are the same, and seeds above 2**32 meet smaller ones.
"""

from enum import IntEnum
from typing import Final

import numpy as np
import torch
from torch import Generator

_STATE_WORDS: Final = 624
_FIRST_BYTE: Final = 24  # of the words in PyTorch's CPUGeneratorImplStateLegacy, as 64 bits each
_LAST_BYTE: Final = _FIRST_BYTE + 8 * _STATE_WORDS


class Stream(IntEnum):
    """What a stream is for: the first word of its key."""

    IMAGE = 0
    SHUFFLING = 1
    NOISING = 2
    ROTATING = 3
    VALIDATING = 4


def open_stream(seed: int, stream: Stream, number: int) -> Generator:
    """A CPU generator for image, update or epoch `number`, 0 or more, of one stream of `seed`, 0 or more."""
    words = np.random.SeedSequence(seed, spawn_key=(int(stream), number)).generate_state(_STATE_WORDS, np.uint32)
    generator = Generator().manual_seed(0)  # Its words are all to be replaced, and its next number begins a new round.
    state = generator.get_state()
    state[_FIRST_BYTE:_LAST_BYTE] = torch.from_numpy(words.astype(np.uint64).view(np.uint8))
    generator.set_state(state)
    return generator
