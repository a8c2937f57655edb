import io
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image

from services.evaluator.audit.detector import detect
from services.evaluator.audit.effect_sizes import cliffs_delta
from services.evaluator.audit.enlargement import reduce_and_enlarge, stored_size
from services.evaluator.audit.image_cues import measure_images, measure_jpeg_blocks
from services.evaluator.audit.images import ConstantImages
from services.evaluator.audit.left_right import (
    AS_THE_REFERENCE,
    DECISIVE_Z,
    NEITHER_SIDE,
    TOO_FEW,
    edge_histograms,
    judge_orientation,
    mirror_histograms,
)
from services.evaluator.audit.shortcuts import measure_shortcuts
from services.evaluator.audit.spectra import find_cut_off, high_frequency_share, mean_spectrum, radial_power
from services.evaluator.features.reading import read_gray
from services.evaluator.metrics.confidence import wilson_interval
from tests.services.evaluator.audit.conftest import PNG, draw_heads, make_images

REFERENCE = draw_heads(150, 1)


def cue(found: dict, name: str) -> dict:
    return next(cue for cue in found["cues"] if cue["cue"] == name)


def test_white_noise_has_three_quarters_of_its_power_above_half_nyquist() -> None:
    # The ring 0.25 < f <= 0.5 has the area pi (0.5^2 - 0.25^2), three quarters of the disc f <= 0.5.
    noise = np.random.default_rng(0).integers(0, 256, (20, 128, 128)).astype(np.uint8)
    frequencies, power = radial_power(noise)
    assert high_frequency_share(frequencies, power).mean() == pytest.approx(0.75, abs=0.01)


def test_a_wave_has_its_power_at_its_frequency_and_parseval_holds() -> None:
    columns = np.arange(128)
    wave = np.tile(128 + 100 * np.cos(2 * np.pi * columns / 8), (128, 1))
    frequencies, power = radial_power(np.rint(wave)[None].astype(np.uint8))
    assert frequencies[power[0].argmax()] == pytest.approx(1 / 8, abs=1 / 128)
    # Nothing but the corners above Nyquist is left out: all power of a horizontal wave is counted once.
    window = np.outer(np.hanning(129)[:-1], np.hanning(129)[:-1])
    total = (np.abs(np.fft.fft2((np.rint(wave) - np.rint(wave).mean()) * window)) ** 2).sum()
    assert power.sum() == pytest.approx(total, rel=1e-3)


def test_an_enlarged_image_shows_the_size_it_was_made_at() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (20, 128, 128)).astype(np.uint8)
    small = [cv2.resize(image, (64, 64), interpolation=cv2.INTER_AREA) for image in noise]
    enlarged = np.array([cv2.resize(image, (128, 128), interpolation=cv2.INTER_CUBIC) for image in small])
    frequencies, power = radial_power(noise)
    reference = mean_spectrum(power)
    assert find_cut_off(frequencies, mean_spectrum(radial_power(enlarged)[1]), reference) == pytest.approx(
        0.25, abs=0.05
    )
    assert find_cut_off(frequencies, reference, reference) is None


def test_blur_lowers_sharpness_and_the_share_of_high_frequencies_step_by_step() -> None:
    steps = []
    for sigma in (0.5, 1.0, 2.0, 4.0):
        cues = measure_images(np.array([cv2.GaussianBlur(image, (0, 0), sigma) for image in REFERENCE[:10]]))
        steps.append((cues.sharpness.mean(), cues.high_frequency.mean()))
    assert steps == sorted(steps, reverse=True)


def test_jpeg_blocks_are_seen_on_their_grid_only() -> None:
    image = cv2.GaussianBlur(draw_heads(1, 0, size_px=128)[0], (0, 0), 2)
    coded = cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 20])[1], cv2.IMREAD_GRAYSCALE)
    assert measure_jpeg_blocks(image) == pytest.approx(1.0, abs=0.1)
    assert measure_jpeg_blocks(coded) > 1.5
    assert measure_jpeg_blocks(coded[4:, 4:]) < 1.2


def test_cliffs_delta_is_the_mean_sign_of_all_differences() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 9, 30).astype(float), rng.integers(2, 12, 40).astype(float)
    effect = cliffs_delta(x, y)
    assert effect.delta == pytest.approx(np.sign(x[:, None] - y[None]).mean())
    assert effect.low < effect.delta < effect.high
    assert cliffs_delta(y, x).delta == pytest.approx(-effect.delta)
    apart = cliffs_delta(np.arange(30.0), np.arange(100.0, 130.0))
    assert (apart.delta, apart.low, apart.high) == (-1.0, -1.0, pytest.approx(-0.8))


def test_the_intervals_hold_the_truth_in_ninety_five_of_a_hundred_cases() -> None:
    rng = np.random.default_rng(0)
    pairs = [cliffs_delta(rng.normal(1, 1, 40), rng.normal(0, 1, 60)) for _ in range(400)]
    # For normal samples with means d apart, delta is 2 Phi(d / sqrt 2) - 1, here 0.5205.
    assert 0.92 < np.mean([pair.low <= 0.5205 <= pair.high for pair in pairs]) < 0.98
    ends = [wilson_interval(int(n), 50) for n in rng.binomial(50, 0.3, 400)]
    assert 0.92 < np.mean([low <= 0.3 <= high for low, high in ends]) < 0.98


def test_a_detector_guesses_between_equal_sets_and_knows_different_ones() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(120, 8)), rng.normal(size=(150, 8))
    groups = np.arange(120), np.arange(150)
    guess = detect(first, second, *groups, 0)
    assert guess is not None
    assert guess.low <= 0.5 <= guess.high
    sure = detect(first + 9, second, *groups, 0)
    assert sure is not None
    assert sure.auc == 1.0
    assert detect(first[:10], second, groups[0][:10], groups[1], 0) is None


def test_copies_on_both_sides_of_a_fold_do_not_help_the_detector() -> None:
    rng = np.random.default_rng(0)
    # Forty features and ten distinct images a side: who has seen an image's copy knows its side, who has not guesses.
    first, second = (np.repeat(rng.normal(size=(10, 40)), 12, axis=0) for _ in range(2))
    apart = detect(first, second, np.arange(120), np.arange(120), 0)
    together = detect(first, second, np.repeat(np.arange(10), 12), np.repeat(np.arange(10), 12), 0)
    assert apart is not None
    assert together is not None
    assert apart.auc == 1.0
    assert together.auc < 0.85


def test_mirroring_an_image_mirrors_its_edge_histogram() -> None:
    mirrored = edge_histograms(np.ascontiguousarray(REFERENCE[:5, :, ::-1]))
    np.testing.assert_allclose(mirrored, mirror_histograms(edge_histograms(REFERENCE[:5])), atol=2e-3)


def test_mirrored_images_are_called_mirrored_and_the_answer_turns_with_the_images(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Drawn heads are more alike than real ones; at the usual threshold all would be one group.
    monkeypatch.setattr("services.evaluator.audit.left_right.ALIKE", 0.999)
    fresh = draw_heads(60, 2)
    upright = judge_orientation(fresh, REFERENCE, None)
    mirrored = judge_orientation(np.ascontiguousarray(fresh[:, :, ::-1]), REFERENCE, fresh)
    assert (upright["mirrored"], mirrored["mirrored"]) == (False, True)
    assert mirrored["synthetic"]["z"] == pytest.approx(-upright["synthetic"]["z"], rel=0.05)
    assert mirrored["baseline"]["share_mirrored"] < 0.5
    assert mirrored["reference"]["share_mirrored"] < 0.5 < mirrored["synthetic"]["low"]


def test_a_set_that_leans_as_the_reference_does_is_not_said_to_lean_to_neither_side(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("services.evaluator.audit.left_right.ALIKE", 0.999)
    # No difference is enough here, as where the reference leans too.
    monkeypatch.setattr("services.evaluator.audit.left_right.DECISIVE_DIFFERENCE_Z", 1e6)
    mirrored = np.ascontiguousarray(draw_heads(60, 2)[:, :, ::-1])
    found = judge_orientation(mirrored, REFERENCE, None)
    assert (found["mirrored"], found["synthetic"]["z"] >= DECISIVE_Z) == (None, True)
    assert found["reason"] == AS_THE_REFERENCE
    said = cue(measure_shortcuts(make_images(mirrored), make_images(REFERENCE), None), "orientation")
    assert said["sentence"].startswith(f"{AS_THE_REFERENCE.rstrip('.')}: a rule that tells")
    assert "neither side" not in said["sentence"]
    assert said["severity"] == "fine"


def test_a_set_of_both_orientations_and_a_tiny_one_are_not_called_either() -> None:
    fresh = draw_heads(60, 2)
    both = np.concatenate([fresh, fresh[:, :, ::-1]])
    neither = judge_orientation(both, REFERENCE, None)
    assert (neither["mirrored"], neither["reason"]) == (None, NEITHER_SIDE)
    assert "Fewer than 20" in judge_orientation(fresh[:5], REFERENCE, None)["reason"]


def test_every_cue_has_an_effect_a_sentence_and_a_severity() -> None:
    blurred = np.array([cv2.GaussianBlur(image, (0, 0), 1.5) for image in draw_heads(60, 3)])
    brighter = np.clip(blurred.astype(int) + 30, 0, 255).astype(np.uint8)
    jpeg = replace(PNG, file_format="JPEG", mode="RGB", jpeg_quality=75, chroma_subsampling="4:2:0")
    found = measure_shortcuts(make_images(brighter, files=jpeg), make_images(REFERENCE), make_images(draw_heads(50, 4)))
    assert cue(found, "sharpness")["severity"] == "problem"
    assert cue(found, "sharpness")["effect_size"] < -0.9
    assert cue(found, "brightness")["difference"] == pytest.approx(30, abs=4)
    assert cue(found, "file_format")["effect_size"] == 1.0
    assert "JPEG, RGB, quality 75, 4:2:0" in cue(found, "file_format")["sentence"]
    assert found["detector"]["auc"] > 0.99
    assert 0.3 < found["detector"]["auc_of_baseline"] < 0.7
    assert all(cue["sentence"].endswith((".", "images.")) for cue in found["cues"])


def test_small_images_are_told_from_blurred_ones() -> None:
    fresh = draw_heads(60, 3)
    _, height, width = fresh.shape
    size_px = (width // 2, height // 2)
    small = replace(PNG, width=size_px[0], height=size_px[1])
    reduced = np.array([reduce_and_enlarge(image, size_px) for image in fresh])
    found = measure_shortcuts(make_images(reduced, files=small), make_images(REFERENCE), None)
    for name in ("sharpness", "high_frequency"):
        measured = cue(found, name)
        assert measured["ratio"] > 1.5
        assert measured["stored_px"] == list(size_px)
        assert measured["reference_at_size"]["median"] == pytest.approx(measured["synthetic"]["median"], rel=0.1)
        assert f"Stored at {size_px[0]} x {size_px[1]} px" in measured["sentence"]
    blurred = np.array([cv2.GaussianBlur(image, (0, 0), 1.5) for image in fresh])
    whole = replace(PNG, width=width, height=height)
    found = measure_shortcuts(make_images(blurred, files=whole), make_images(REFERENCE), None)
    assert not any("stored_px" in cue for cue in found["cues"])


def test_a_size_that_few_images_have_is_not_that_of_the_set() -> None:
    images = make_images(REFERENCE[:5])
    small, whole = replace(PNG, width=20, height=20), [replace(PNG, width=w, height=w) for w in (64, 65, 66)]
    assert stored_size(replace(images, files=[small, small, *whole])) is None
    assert stored_size(replace(images, files=[small, small, small, *whole[:2]])) == (20, 20)


def test_images_are_reduced_and_enlarged_as_stored_ones_are_read() -> None:
    image, (width, height) = REFERENCE[0], (24, 40)
    stream = io.BytesIO()
    Image.fromarray(image).resize((width, height), Image.Resampling.BOX).save(stream, "PNG")
    read = read_gray(stream.getvalue(), "small.png", image.shape[::-1])
    assert (reduce_and_enlarge(image, (width, height)) == read).all()
    assert (reduce_and_enlarge(image, image.shape[::-1]) == image).all()


def test_equal_sets_show_no_shortcut_and_constant_images_are_refused() -> None:
    found = measure_shortcuts(make_images(draw_heads(60, 5)), make_images(REFERENCE), None)
    assert {cue["cue"]: cue["severity"] for cue in found["cues"] if cue["severity"] == "problem"} == {}
    assert found["spectra"]["cut_off"] is None
    with pytest.raises(ConstantImages):
        measure_shortcuts(make_images(np.zeros((3, 64, 64), np.uint8)), make_images(REFERENCE), None)


def test_a_cue_is_excused_only_by_many_fresh_images_that_differ_the_same_way() -> None:
    reference, fresh = draw_heads(100, 1), draw_heads(60, 2)

    def severity(synthetic_shift: int, fresh_shift: int, n_fresh: int) -> str:
        shifted = [np.clip(some.astype(int) + by, 0, 255).astype(np.uint8) for some, by in (
            (draw_heads(60, 3), synthetic_shift), (fresh[:n_fresh], fresh_shift))]  # fmt: skip
        found = measure_shortcuts(make_images(shifted[0]), make_images(reference), make_images(shifted[1]))
        return cue(found, "brightness")["severity"]

    assert severity(60, 0, 60) == "problem"
    assert severity(60, 60, 60) == "fine"
    assert severity(60, -60, 60) == "problem"
    assert severity(60, 60, 19) == "problem"


def test_repeats_of_an_image_are_no_further_proof_that_a_set_is_mirrored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.evaluator.audit.left_right.ALIKE", 0.999)
    mirrored = np.ascontiguousarray(draw_heads(40, 2)[:, :, ::-1])
    once = judge_orientation(mirrored, REFERENCE, None)
    assert once["synthetic"]["n"] == 40
    repeated = judge_orientation(np.repeat(mirrored, 5, axis=0), REFERENCE, mirrored)
    assert (repeated["synthetic"], repeated["difference_z"]) == (once["synthetic"], once["difference_z"])
    assert repeated["baseline"] == once["synthetic"]
    # A generator that has collapsed to one mirrored image draws it again and again with some noise.
    noise = np.random.default_rng(0).normal(0, 4, (200, *mirrored.shape[1:]))
    collapsed = np.clip(mirrored[:1] + noise, 0, 255).astype(np.uint8)
    found = judge_orientation(collapsed, REFERENCE, None)
    assert (found["mirrored"], found["reason"]) == (None, TOO_FEW)
    doubled = np.concatenate([REFERENCE, REFERENCE[:50]])
    assert judge_orientation(mirrored, doubled, None)["reference"]["n"] == len(REFERENCE)
