import numpy as np
import pytest
import torch

from services.generator.training.curves import Losses, Measurement
from services.generator.training.data import TrainingData
from services.generator.training.resume import (
    ResumeBundleMismatch,
    ResumeState,
    fingerprint_data,
    read_resume,
    write_resume,
)
from tests.services.generator.micro import draw_images

ID = {"data": "abc", "preset": {"name": "micro"}, "seed": 1}


def state(**more: dict[str, torch.Tensor]) -> ResumeState:
    moments = [{"step": torch.tensor(2.0), "exp_avg": torch.full((2,), float(number))} for number in range(12)]
    weights = {"raw": {"a.b": torch.randn(2)}, **more}
    measurements = [Measurement(1, 3.5, 0.5), Measurement(2, 3.25, 1 / 3, 0.1)]
    return ResumeState(
        weights, moments, [Losses(0.1, 0.01), Losses(1 / 3, 0.5)], measurements, 7.25, "float16", {"scale": 2.0}
    )


@pytest.mark.parametrize("more", [{}, {"average": {"a.b": torch.ones(2)}, "best_raw": {"a.b": torch.zeros(2)}}])
def test_a_bundle_gives_back_all_it_was_given(more: dict[str, dict[str, torch.Tensor]]) -> None:
    written = state(**more)
    read = read_resume(write_resume(written, ID), ID)
    assert read.weights.keys() == written.weights.keys()
    for kind, weights in written.weights.items():
        assert torch.equal(read.weights[kind]["a.b"], weights["a.b"])
    assert [int(moments["exp_avg"][0]) for moments in read.optimizer] == list(range(12))
    for name in ("losses", "measurements", "seconds", "precision", "scaler"):
        assert getattr(read, name) == getattr(written, name)


@pytest.mark.parametrize("change", [{"seed": 2}, {"data": "abd"}, {"preset": {"name": "other"}}])
def test_a_bundle_of_another_training_is_refused(change: dict[str, object]) -> None:
    data = write_resume(state(), ID)
    with pytest.raises(ResumeBundleMismatch, match="other images or with other settings"):
        read_resume(data, {**ID, **change})
    assert read_resume(data).losses == state().losses


def test_the_fingerprint_sees_pixels_order_shape_split_and_classes() -> None:
    images_u8 = draw_images(4)
    changed = images_u8.copy()
    changed[0, 0, 0] ^= 1
    arrays = [images_u8, changed, images_u8[::-1].copy(), images_u8.reshape(4, 8, 32)]
    data = [TrainingData(each) for each in arrays]
    data += [TrainingData(images_u8[:3], images_u8[3:]), TrainingData(images_u8, classes=np.arange(4))]
    assert len({fingerprint_data(each) for each in data}) == 6
    assert fingerprint_data(data[0]) == fingerprint_data(TrainingData(images_u8.copy()))
