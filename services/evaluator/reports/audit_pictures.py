"""Pictures of an audit: each synthetic image beside the real one nearest to it, and the spectra of both."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.evaluator.audit.images import AuditImages
from services.evaluator.audit.registration import turn
from services.evaluator.reports.style import (
    BASELINE_COLOUR,
    FONT_PT,
    INK,
    REFERENCE_COLOUR,
    SYNTHETIC_COLOUR,
    caption,
    clear,
    dress,
    label_sides,
    new_figure,
    plain,
    shorten,
    to_png,
)

N_NEAREST: Final = 10
MAX_COPIES: Final = 30
"""Copies on one sheet; copies.csv names them all."""
GAIN: Final = 2
"""By how much a difference is brightened, so that it can be seen in print."""
_ACROSS: Final = 2
_GAP: Final = 0.12
_CELL_IN: Final = 1.12
_LEAST_SHOWN_DEG: Final = 0.5
_COPY_COLOUR: Final = "#b3261e"


def draw_nearest(found: Mapping[str, Any], synthetic: AuditImages, reference: AuditImages, tumour_class: str) -> bytes:
    """PNG of pairs: a synthetic image, the real one nearest to it turned to match, and twice their difference.

    Copies come first and are marked; then the pairs with the highest correlation, at least ten pairs if there are.

    Args:
        found: result of `find_copies`.
        synthetic: the images under test.
        reference: the real images that the model has seen, of the same size.
        tumour_class: for the caption.
    """
    copied = {copy["name"] for copy in found["copies"]}
    pairs = _choose_pairs(found, copied)
    n_across = min(_ACROSS, len(pairs))
    n_rows = -(-len(pairs) // n_across)
    figure = new_figure((_CELL_IN + 0.5) * n_rows + 0.5, 7.2 if n_across == _ACROSS else 3.7)
    columns = [0, 1, 2, 4, 5, 6][: 3 * n_across]
    grid = figure.add_gridspec(n_rows, columns[-1] + 1, width_ratios=[1, 1, 1, _GAP, 1, 1, 1][: columns[-1] + 1])
    rows = {name: row for row, name in enumerate(synthetic.names)}
    places = {name: row for row, name in enumerate(reference.names)}
    for number, pair in enumerate(pairs):
        row, first = number // n_across, 3 * (number % n_across)
        panels = [figure.add_subplot(grid[row, column]) for column in columns[first : first + 3]]
        image = synthetic.images_u8[rows[pair["name"]]]
        nearest = align_nearest(reference.images_u8[places[pair["nearest"]]], pair)
        _draw_pair(panels, pair, (image, nearest), is_copy=pair["name"] in copied)
    caption(figure, _caption(len(pairs), len(copied), len(synthetic), len(reference), tumour_class))
    return to_png(figure)


def align_nearest(image_u8: NDArray[np.uint8], pair: Mapping[str, Any]) -> NDArray[np.uint8]:
    """(h, w) uint8: the real image of a pair, (h, w) uint8, turned and mirrored as the synthetic one shows it.

    `find_copies` mirrors the synthetic image and turns the real one to match; here that is done the other way round.
    """
    turned = turn(image_u8, pair["angle_deg"]) if pair["angle_deg"] else image_u8
    return np.ascontiguousarray(turned[:, ::-1]) if pair["mirrored"] else turned


def _choose_pairs(found: Mapping[str, Any], copied: set[str]) -> list[dict[str, Any]]:
    ranked = sorted(found["nearest"], key=lambda pair: (-pair["correlation"], pair["name"]))
    copies = [pair for pair in ranked if pair["name"] in copied][:MAX_COPIES]
    others = [pair for pair in ranked if pair["name"] not in copied]
    return copies + others[: max(N_NEAREST - len(copies), 2)]


def _draw_pair(
    panels: Sequence[Any],
    pair: Mapping[str, Any],
    images: tuple[NDArray[np.uint8], NDArray[np.uint8]],
    *,
    is_copy: bool,
) -> None:
    first, second = images
    difference = np.abs(first.astype(np.int16) - second) * GAIN
    shown = (first, second, np.clip(difference, 0, 255))
    titles = (f"synthetic\n{_short(pair['name'])}", f"nearest real\n{_short(pair['nearest'])}", f"difference\n× {GAIN}")
    for axes, pixels, title in zip(panels, shown, titles, strict=True):
        axes.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation="antialiased")
        axes.set_title(title, fontsize=FONT_PT - 1.5, color=INK, pad=2)
        clear(axes)
    words = f"r = {pair['correlation']:.3f}, details {pair['edge_correlation']:.3f}\n{describe_match(pair)}"
    panels[1].set_xlabel(words, fontsize=FONT_PT - 1.5, color=INK, labelpad=2)
    if is_copy:
        panels[0].set_xlabel("COPY", fontsize=FONT_PT, fontweight="bold", color=_COPY_COLOUR, labelpad=2)
        for spine in panels[0].spines.values():
            spine.set_visible(True)
            spine.set_color(_COPY_COLOUR)
            spine.set_linewidth(2)


def describe_match(pair: Mapping[str, Any]) -> str:
    """How the real image lies on the synthetic one, in words."""
    ways = ["mirrored"] if pair["mirrored"] else []
    if abs(pair["angle_deg"]) >= _LEAST_SHOWN_DEG:
        ways.append(f"turned {pair['angle_deg']:+.1f}°")
    return ", ".join(ways) or "as it is"


def _caption(n_pairs: int, n_copies: int, n_synthetic: int, n_reference: int, tumour_class: str) -> str:
    marked = f"{n_copies} of {n_synthetic:,} count as copies and are marked." if n_copies else "None counts as a copy."
    if n_copies > MAX_COPIES:
        marked = f"{n_copies} of {n_synthetic:,} count as copies; {MAX_COPIES} of them are shown."
    first = ", copies first" if n_copies else ""
    return (
        f"{tumour_class}: the {n_pairs} pairs with the highest correlation r of gray levels among {n_synthetic:,} "
        f"synthetic and {n_reference:,} real images{first}. The real ones are turned to match. {marked}"
    )


def _short(name: str) -> str:
    return plain(shorten(name.rsplit("/", 1)[-1], 22))


def draw_spectra(classes: Mapping[str, Mapping[str, Any]], split: str) -> bytes | None:
    """PNG: mean power of each side at each spatial frequency, one panel per class; None where none was measured.

    Args:
        classes: by class, what the audit measured.
        split: of the reference; "all" where the set has no splits.
    """
    measured = {name: found for name, found in classes.items() if found.get("shortcuts")}
    if not measured:
        return None
    n_across = min(2, len(measured))
    n_rows = -(-len(measured) // n_across)
    figure = new_figure(0.9 + 2.3 * n_rows, 7.2 if n_across > 1 else 4.4)
    grid = figure.subplots(n_rows, n_across, squeeze=False, sharex=True, sharey=True).ravel()
    for axes in grid[len(measured) :]:
        axes.set_visible(False)
    for number, (axes, (name, found)) in enumerate(zip(grid, measured.items(), strict=False)):
        _draw_spectrum(axes, found, label_sides(split))
        left, lowest = number % n_across == 0, number + n_across >= len(measured)
        dress(
            axes, title=name, xlabel="cycles per pixel" if lowest else "", ylabel="log10 share of power" if left else ""
        )
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False, fontsize=FONT_PT)
    caption(
        figure,
        "Share of an image's power at each spatial frequency, over all directions; geometric mean of the images. "
        "Dotted: half of the Nyquist frequency. Dash-dotted: where detail ends that real images have. "
        f"{_counts(measured)}",
    )
    return to_png(figure)


def _draw_spectrum(axes: Any, found: Mapping[str, Any], labels: Mapping[str, str]) -> None:
    spectra = found["shortcuts"]["spectra"]
    frequencies = np.asarray(spectra["frequency_cycles_per_px"], dtype=float)
    for side, colour, dashes, width in (
        ("reference", REFERENCE_COLOUR, "-", 1.2),
        ("baseline", BASELINE_COLOUR, "--", 1.2),
        ("synthetic", SYNTHETIC_COLOUR, "-", 1.8),
    ):
        if spectra.get(side):
            power = np.maximum(np.asarray(spectra[side], dtype=float), 1e-30)
            seen = frequencies > 0  # the mean gray level is no structure
            axes.plot(
                frequencies[seen], np.log10(power[seen]), dashes, color=colour, linewidth=width, label=labels[side]
            )
    axes.axvline(0.25, color=INK, linewidth=0.6, linestyle=":")
    if spectra.get("cut_off") is not None:
        axes.axvline(spectra["cut_off"], color=SYNTHETIC_COLOUR, linewidth=0.9, linestyle="-.")


def _counts(measured: Mapping[str, Mapping[str, Any]]) -> str:
    parts = [
        f"{name} {found['n_synthetic']:,} / {found['n_reference']:,} / {found['n_baseline']:,}"
        for name, found in measured.items()
    ]
    return f"n (synthetic / reference / fresh real): {'; '.join(parts)}."
