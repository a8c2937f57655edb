from itertools import product

import numpy as np
import pytest
import torch

from services.generator.streams import Stream, open_stream

SEEDS = (0, 1, 2, 7, 2**32 - 1, 2**32, 2**32 + 1, 2**32 + 7, 7 * 2**32, 2**53 - 1)
NUMBERS = (0, 1, 2, 3, 4, 7, 1000, 2**31)


def test_no_two_seeds_streams_and_numbers_share_a_state() -> None:
    keys = list(product(SEEDS, Stream, NUMBERS))
    assert len({open_stream(*key).get_state().numpy().tobytes() for key in keys}) == len(keys)
    assert len({torch.randn(64, generator=open_stream(*key)).numpy().tobytes() for key in keys}) == len(keys)


def test_a_stream_is_more_than_the_32_bits_that_torch_seeds_with() -> None:
    """`manual_seed` takes the low 32 bits; all words of our state are SeedSequence's."""
    same = [torch.randn(8, generator=torch.Generator().manual_seed(seed)) for seed in (5, 5 + 2**32)]
    assert torch.equal(*same)
    state = open_stream(5, Stream.NOISING, 9).get_state().numpy()[24 : 24 + 8 * 624].view(np.uint64)
    words = np.random.SeedSequence(5, spawn_key=(int(Stream.NOISING), 9)).generate_state(624, np.uint32)
    np.testing.assert_array_equal(state, words)


def test_the_twister_goes_on_from_those_words_as_numpys_does() -> None:
    """Both are MT19937: from equal words, equal 32-bit numbers; torch's layout of the state is as we take it to be."""
    words = np.random.SeedSequence(3, spawn_key=(int(Stream.IMAGE), 1)).generate_state(624, np.uint32)
    twister = np.random.MT19937()
    twister.state = {"bit_generator": "MT19937", "state": {"key": words, "pos": 624}}
    drawn = torch.randint(0, 2**20, (2000,), generator=open_stream(3, Stream.IMAGE, 1))
    np.testing.assert_array_equal(drawn.numpy(), twister.random_raw(2000) & (2**20 - 1))


@pytest.mark.parametrize("stream", Stream)
def test_noise_of_a_stream_is_standard_normal_and_neighbours_are_independent(stream: Stream) -> None:
    drawn = np.stack([torch.randn(4096, generator=open_stream(2**32, stream, k)).numpy() for k in range(20)])
    assert abs(drawn.mean()) < 5 / np.sqrt(drawn.size)
    assert abs(drawn.var() - 1) < 5 * np.sqrt(2 / drawn.size)
    correlations = np.corrcoef(drawn)[np.triu_indices(20, 1)]
    assert np.abs(correlations).max() < 5 / np.sqrt(4096)
