import pytest
import torch

from services.generator.resume import ResumeBundleMismatch, ResumeState, fingerprint_images, read_resume, write_resume
from tests.services.generator.micro import draw_images

ID = {"data": "abc", "preset": {"name": "micro"}, "seed": 1}


def state(average: dict[str, torch.Tensor] | None) -> ResumeState:
    moments = [{"step": torch.tensor(2.0), "exp_avg": torch.full((2,), float(number))} for number in range(12)]
    return ResumeState({"a.b": torch.randn(2)}, average, moments, [0.1, 1 / 3], 7.25)


@pytest.mark.parametrize("average", [None, {"a.b": torch.ones(2)}])
def test_a_bundle_gives_back_all_it_was_given(average: dict[str, torch.Tensor] | None) -> None:
    written = state(average)
    read = read_resume(write_resume(written, ID), ID)
    assert torch.equal(read.weights["a.b"], written.weights["a.b"])
    assert (read.average is None) == (average is None)
    assert [int(moments["exp_avg"][0]) for moments in read.optimizer] == list(range(12))
    assert (read.losses, read.seconds) == (written.losses, written.seconds)


@pytest.mark.parametrize("change", [{"seed": 2}, {"data": "abd"}, {"preset": {"name": "other"}}])
def test_a_bundle_of_another_training_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ResumeBundleMismatch, match="other images or with other settings"):
        read_resume(write_resume(state(None), ID), {**ID, **change})


def test_the_fingerprint_sees_pixels_order_and_shape() -> None:
    images_u8 = draw_images(4)
    changed = images_u8.copy()
    changed[0, 0, 0] ^= 1
    prints = [images_u8, changed, images_u8[::-1].copy(), images_u8.reshape(4, 8, 32)]
    assert len({fingerprint_images(each) for each in prints}) == 4
    assert fingerprint_images(images_u8) == fingerprint_images(images_u8.copy())
