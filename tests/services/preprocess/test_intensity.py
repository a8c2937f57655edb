import cv2
import numpy as np

from services.preprocess.intensity import equalise_adaptively


def test_contrast_grows(pixels_u8):
    flat = (pixels_u8 // 8 + 100).astype(np.uint8)
    assert equalise_adaptively(flat).std() > flat.std()


def test_defaults_are_the_studys(pixels_u8):
    expected = cv2.createCLAHE(2.0, (8, 8)).apply(pixels_u8)
    np.testing.assert_array_equal(equalise_adaptively(pixels_u8), expected)


def test_result_does_not_depend_on_opencvs_threads(pixels_u8):
    before = cv2.getNumThreads()
    results = []
    for threads in (1, 4):
        cv2.setNumThreads(threads)
        results.append(equalise_adaptively(np.tile(pixels_u8, (8, 8))))
    cv2.setNumThreads(before)
    np.testing.assert_array_equal(*results)


def test_input_is_left_alone(pixels_u8):
    copy = pixels_u8.copy()
    equalise_adaptively(pixels_u8)
    np.testing.assert_array_equal(pixels_u8, copy)
