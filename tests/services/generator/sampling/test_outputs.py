import io

import matplotlib.image
import numpy as np
import pytest
from PIL import Image, JpegImagePlugin
from scipy import ndimage

from services.generator.images import decode_gray
from services.generator.sampling.outputs import encode_drawing, round_unit
from services.generator.sampling.study_output import to_study_jpeg
from tests.services.generator.micro import draw_images


def drawn_by_the_study(size_px: int = 32) -> np.ndarray:
    """A float image in and beyond [0, 1], with noise, as networks draw them."""
    rng = np.random.default_rng(0)
    image = draw_images(1, size_px)[0] / 255 + rng.normal(0, 0.1, (size_px, size_px))
    return image.astype(np.float32)


def test_the_study_jpeg_is_what_matplotlib_saved() -> None:
    """The study's own calls (study 3.3): rotate, zoom, imsave in gray between 0 and 1."""
    drawn = drawn_by_the_study()
    assert drawn.min() < 0
    enlarged = ndimage.zoom(ndimage.rotate(drawn, -90, reshape=False), 2)
    out = io.BytesIO()
    matplotlib.image.imsave(out, enlarged, cmap="gray", vmin=0, vmax=1, format="jpg")
    with Image.open(out) as theirs, Image.open(io.BytesIO(to_study_jpeg(drawn))) as ours:
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))
        assert isinstance(ours, JpegImagePlugin.JpegImageFile)
        assert isinstance(theirs, JpegImagePlugin.JpegImageFile)
        assert ours.quantization == theirs.quantization  # quality 75
        assert JpegImagePlugin.get_sampling(ours) == JpegImagePlugin.get_sampling(theirs) == 2  # 4:2:0
        assert (ours.mode, ours.size, ours.info["dpi"]) == ("RGB", (64, 64), (100, 100))
        assert theirs.info["dpi"] == (100, 100)


@pytest.mark.parametrize("transposed", [True, False])
def test_png_is_upright_and_the_study_output_mirrored(transposed: bool) -> None:
    """Whichever way the network was trained: a smooth image, so that the JPEG differs by a few gray levels only."""
    upright_u8 = draw_images(1, 32)[0]
    upright = upright_u8.astype(np.float32) / 255
    drawn = upright.T if transposed else upright
    png = decode_gray(encode_drawing(drawn, transposed=transposed, output="png", size_px=32))
    np.testing.assert_array_equal(png, upright_u8)
    jpeg = decode_gray(encode_drawing(drawn, transposed=transposed, output="study", size_px=64))
    enlarged = ndimage.zoom(upright, 2) * 255
    assert np.abs(jpeg - enlarged[:, ::-1]).mean() < 2
    assert np.abs(jpeg - enlarged).mean() > 10


def test_pngs_are_enlarged_and_their_range_is_clipped() -> None:
    assert decode_gray(encode_drawing(drawn_by_the_study(), transposed=False, output="png", size_px=80)).shape == (
        80,
        80,
    )
    np.testing.assert_array_equal(round_unit(np.array([[-1, 0, 0.5, 1, 2]], np.float32)), [[0, 0, 128, 255, 255]])
