"""Which library weights the platform can use: file, source, hash and size as the libraries publish them."""

from dataclasses import dataclass
from typing import Literal

from shared.errors import NotFound


class UnknownWeights(NotFound):
    """The platform knows no library weights of this name."""


@dataclass(frozen=True)
class LibraryWeights:
    """One file of weights as its library publishes it.

    Attributes:
        name: what users call it.
        file_name: name of the published file.
        url: where the library itself downloads it from.
        algorithm: hash the library publishes.
        digest: hexadecimal hash of the file.
        size_bytes: size of the file.
        used_by: what needs it, in words.
    """

    name: str
    file_name: str
    url: str
    algorithm: Literal["sha256", "md5"]
    digest: str
    size_bytes: int
    used_by: str

    @property
    def command(self) -> str:
        """The command that installs it."""
        return f"synthmri weights install {self.name} [--file {self.file_name}]"


KNOWN: dict[str, LibraryWeights] = {
    weights.name: weights
    for weights in (
        LibraryWeights(
            name="inception",
            file_name="weights-inception-2015-12-05-6726825d.pth",
            # URL_INCEPTION_V3 of torch_fidelity.feature_extractor_inceptionv3 0.4.0; the name ends with the first
            # digits of the sha256.
            url="https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth",
            algorithm="sha256",
            digest="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
            size_bytes=95_628_359,
            used_by="POST /evaluate with features=inception",
        ),
        LibraryWeights(
            name="vgg19",
            file_name="vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
            # WEIGHTS_PATH_NO_TOP and its file_hash (md5) of keras.applications.vgg19, Keras 3.15.
            url=(
                "https://storage.googleapis.com/tensorflow/keras-applications/vgg19/"
                "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5"
            ),
            algorithm="md5",
            digest="253f8cb515780f3b799900260a226db6",
            size_bytes=80_134_624,
            used_by="POST /models/classifier and /scenarios with preset=vgg19 or study",
        ),
        LibraryWeights(
            name="keras-inception",
            file_name="inception_v3_weights_tf_dim_ordering_tf_kernels.h5",
            # WEIGHTS_PATH and its file_hash (md5) of keras.applications.inception_v3, Keras 3.15. The file with the
            # top layer serves both the features (before it) and the class probabilities (after it).
            url=(
                "https://storage.googleapis.com/tensorflow/keras-applications/inception_v3/"
                "inception_v3_weights_tf_dim_ordering_tf_kernels.h5"
            ),
            algorithm="md5",
            digest="9a0d58056eeedaa3f26cb7ebd46da564",
            size_bytes=96_112_376,
            used_by="POST /evaluate with mode=study",
        ),
    )
}


def known_weights(name: str) -> LibraryWeights:
    """The weights called `name`, or `UnknownWeights`."""
    if name not in KNOWN:
        raise UnknownWeights(
            f"There are no library weights {name[:40]!r}; known are {', '.join(KNOWN)}.", valid=list(KNOWN)
        )
    return KNOWN[name]
