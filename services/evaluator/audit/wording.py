"""Words for lists of classes, shares and numbers in the sentences of an audit."""

from collections.abc import Sequence
from typing import Final

_NUMBERS: Final = {2: "Both", 3: "All three", 4: "All four"}


def join_words(words: Sequence[str]) -> str:
    """For example "glioma, meningioma and notumor"."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def name_classes(found: Sequence[str], everything: Sequence[str]) -> str:
    """The subject of a sentence: "All four classes", "The classes notumor and pituitary", "The class glioma"."""
    if len(found) == len(everything) > 1:
        return f"{_NUMBERS.get(len(found), f'All {len(found)}')} classes"
    return f"The class{'es' if len(found) > 1 else ''} {join_words(list(found))}"


def percent(share: float) -> str:
    """A share as whole percent; one decimal where that would read 0 or 100 without being so."""
    whole = f"{100 * share:.0f}"
    exact = share in (0.0, 1.0) or whole not in ("0", "100")
    return f"{whole} %" if exact else f"{100 * share:.1f} %"


def list_by_class(values: dict[str, str]) -> str:
    """For example "4.5 (glioma), 3.8 (meningioma)"; a value alone where there is one class."""
    if len(values) == 1:
        return next(iter(values.values()))
    return join_words([f"{value} ({name})" for name, value in values.items()])


def say_size(size_px: Sequence[int]) -> str:
    """The beginning of a sentence that a median ends, or those of several classes, at the stored size (w, h)."""
    width, height = size_px
    return (
        f"Stored at {width} x {height} px, the synthetic images were enlarged to be compared; reference images reduced "
        "to that and enlarged alike have a median of"
    )
