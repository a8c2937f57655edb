"""Files of a training on a node, each there whole or not at all."""

from pathlib import Path
from typing import Final

WEIGHTS: Final = "weights.safetensors"
CONFIG: Final = "config.json"
CARD: Final = "card.json"
BUNDLE: Final = "resume.safetensors"


def write_whole(path: Path, data: bytes) -> None:
    """Put `data` where a reader finds the old file or the new one, never a part."""
    partial = path.with_name(f".{path.name}.part")
    partial.write_bytes(data)
    partial.replace(path)
