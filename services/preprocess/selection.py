"""Which images stay: every drop has a name, a reason in one word, and the fact behind it."""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from services.preprocess.analysis import Measurement
from services.preprocess.duplicates import Copies, Leak, find_crossing_patients, find_label_conflicts, find_leaks
from services.preprocess.geometry import passes_study_filter
from services.preprocess.near_duplicates import NearPair
from services.preprocess.recipe import Recipe
from services.preprocess.steps import NearDuplicates
from services.preprocess.study import was_kept_by_study
from shared.errors import InvalidInput
from shared.tumour import Split

_SHOWN = 5


class LabelConflict(InvalidInput):
    """Equal images bear different classes, and nobody said which is right."""


@dataclass(frozen=True)
class Drop:
    """An image that is not in the result, the reason in one word, and the fact behind it."""

    name: str
    reason: str
    detail: str


class Selection:
    """Images that stay, and those dropped so far; an image keeps the first reason it was given.

    Args:
        images: the readable images, in the order of the raw set.
        copies: their copies, by the recipe's idea of a copy.
        recipe: what to drop.
    """

    def __init__(self, images: Sequence[Measurement], copies: Copies, recipe: Recipe) -> None:
        self._images = images
        self._copies = copies
        self._recipe = recipe
        self._slices = Counter(image.volume for image in images if image.volume is not None)
        self._drops: dict[str, Drop] = {}

    @property
    def kept(self) -> list[Measurement]:
        """The images that stay, in the order of the raw set."""
        return [image for image in self._images if image.name not in self._drops]

    @property
    def drops(self) -> list[Drop]:
        """The drops, in the order of the raw set."""
        return [self._drops[image.name] for image in self._images if image.name in self._drops]

    def drop(self, name: str, reason: str, detail: str) -> None:
        """Leave an image out, unless it is left out already."""
        self._drops.setdefault(name, Drop(name, reason, detail))

    def apply_rules(self, excluded: Collection[str] = ()) -> None:
        """Drop what the caller excludes and what the recipe's rules leave out; nothing is drawn here.

        Raises:
            LabelConflict: equal images bear different classes, and the recipe refuses that.
        """
        for name in sorted(excluded):
            self.drop(name, "excluded", "The request leaves it out.")
        self._drop_conflicts()
        if self._recipe.duplicates != "none":
            self._drop_copies()
        self._drop_sizes()
        if self._recipe.duplicates == "across_splits":
            self._drop_leaks()
        if self._recipe.groups == "set_aside":
            self._drop_groups()

    def _drop_conflicts(self) -> None:
        rule = self._recipe.label_conflicts
        if rule == "keep":
            return
        kept = {image.name for image in self.kept}
        refuse_conflicts(self._copies, self._recipe, kept)
        for names in find_label_conflicts(self._copies, exact=False, among=kept):
            for name in names:
                others = ", ".join(other for other in names if other != name)
                self.drop(name, "label_conflict", f"The same scan with another class: {others[:300]}.")

    def _drop_copies(self) -> None:
        """Keep one of the copies in each split: one the study kept, else one of a good size, of a volume, the largest.

        An image without a split counts as Training; of two that are as good, the one whose split is named stays. Where
        copies of a volume join its slices to one group, all slices of the volume stay that the kept one is of, but for
        equal ones: a DICOM series may hold a file twice.
        """
        members: dict[tuple[str, int], list[tuple[int, Measurement]]] = defaultdict(list)
        for k, image in enumerate(self._images):
            if image.name not in self._drops:
                members[image.split or Split.TRAINING, int(self._copies.group[k])].append((k, image))
        for group in members.values():
            if len(group) < 2:
                continue
            kept_k, kept = min(group, key=lambda item: (*self._rank(item[1]), item[0]))
            stays = {int(self._copies.exact[kept_k]): kept.name}
            for k, image in group:
                if image.volume is not None and image.volume == kept.volume:
                    stays.setdefault(int(self._copies.exact[k]), image.name)
            for k, image in group:
                same = stays.get(int(self._copies.exact[k]))
                if same == image.name:
                    continue
                if same is not None:
                    self.drop(image.name, "duplicate", f"The same pixels as {same}.")
                else:
                    self.drop(image.name, "near_duplicate", f"The same scan as {kept.name}.")

    def _rank(self, image: Measurement) -> tuple[bool, bool, bool, int, bool]:
        misfit = self._size_problem(image) is not None
        studied = self._recipe.draws == "study" and was_kept_by_study(image.name)
        is_alone = image.volume is None or self._slices[image.volume] == 1
        return (not studied, misfit, is_alone, -image.width * image.height, image.split is None)

    def _drop_sizes(self) -> None:
        for image in self._images:
            if problem := self._size_problem(image):
                self.drop(image.name, *problem)

    def _size_problem(self, image: Measurement) -> tuple[str, str] | None:
        """Reason and detail if the image's native size is not wanted."""
        size, limits = f"{image.width} x {image.height} pixels", self._recipe.size_limits
        if not passes_size_rule(image.width, image.height, image.tumour_class, self._recipe):
            return "not_square", f"{size}; the recipe keeps square images only."
        if limits.min_side_px is not None and min(image.width, image.height) < limits.min_side_px:
            return "too_small", f"{size}; the recipe keeps sides of {limits.min_side_px} pixels or more."
        longer, shorter = max(image.width, image.height), min(image.width, image.height)
        if limits.max_aspect is not None and longer > limits.max_aspect * shorter:
            return "too_elongated", f"{size}; the recipe keeps proportions up to {limits.max_aspect:g}."
        return None

    def _drop_groups(self) -> None:
        """Set aside, on the side that `leaks` names, images of a patient who has images on both."""
        crossing = find_crossing_patients(self._copies, {image.name for image in self.kept})
        for image in self.kept:
            if image.name not in crossing:
                continue
            shared = ", ".join(sorted(crossing[image.name]))
            if image.split == Split.TESTING and self._recipe.leaks == "testing":
                self.drop(image.name, "group_in_training", f"Training has images of the same group, {shared}.")
            if image.split != Split.TESTING and self._recipe.leaks == "training":
                self.drop(image.name, "group_in_testing", f"Testing has images of the same group, {shared}.")

    def _drop_leaks(self) -> None:
        leaks = find_leaks(self._copies, {image.name for image in self.kept})
        if self._recipe.leaks == "testing":
            for leak in leaks:
                self.drop(leak.testing, "in_training", describe_leak(leak))
            return
        group = {image.name: int(number) for image, number in zip(self._images, self._copies.group, strict=True)}
        tested = {group[leak.testing]: leak.testing for leak in leaks}
        for image in self.kept:
            if image.split != Split.TESTING and group[image.name] in tested:
                self.drop(image.name, "in_testing", f"Testing has the same scan, {tested[group[image.name]]}.")


def refuse_conflicts(copies: Copies, recipe: Recipe, among: Collection[str]) -> None:
    """Raise LabelConflict if equal images among these names bear different classes and the recipe refuses that."""
    conflicts = find_label_conflicts(copies, exact=True, among=among)
    if conflicts and recipe.label_conflicts == "refuse":
        shown = "; ".join(" = ".join(names) for names in conflicts[:_SHOWN])
        raise LabelConflict(
            f"{len(conflicts)} groups of equal images bear different classes: {shown}. Say which class is right in "
            "`relabel`, name those to leave out in `exclude`, or choose `label_conflicts: set_aside`.",
            conflicts=conflicts[:100],
        )


def search_rule(rule: NearDuplicates | None) -> NearDuplicates:
    """By what rule near-duplicates are looked for and reported: the default one, or the recipe's if it finds more.

    So a strict rule of a recipe hides no leak.
    """
    default = NearDuplicates()
    return default if rule is None else NearDuplicates(correlation=min(rule.correlation, default.correlation))


def pairs_that_count(pairs: Sequence[NearPair], rule: NearDuplicates | None) -> list[NearPair]:
    """The pairs that the recipe's own rule calls copies; none without a rule."""
    if rule is None:
        return []
    if rule.mirrored:
        return [pair for pair in pairs if pair.correlation >= rule.correlation]
    return [pair for pair in pairs if pair.unturned is not None and pair.unturned >= rule.correlation]


def passes_size_rule(width: int, height: int, tumour_class: str | None, recipe: Recipe) -> bool:
    """Whether the recipe's size rule keeps an image of this native size, in pixels."""
    return recipe.size_rule != "study_square" or passes_study_filter(width, height, tumour_class)


def describe_leak(leak: Leak) -> str:
    """A sentence on why the Testing image is no test."""
    if leak.exact:
        return f"The same pixels as {leak.training}."
    how = "" if leak.mirror == "none" else f", mirrored ({leak.mirror})"
    measure = "by way of other copies" if leak.correlation is None else f"correlation {leak.correlation:.3f}"
    return f"The same scan as {leak.training}{how} ({measure})."


def balance_classes(
    images: Sequence[Measurement], recipe: Recipe, draw: Callable[[Sequence[str], int], Collection[str]]
) -> dict[str, str]:
    """Names of Training images to leave out so that classes or planes are equal, each with the sentence why.

    Args:
        images: the images left, of all splits.
        recipe: its `balance` says over what, and to how many.
        draw: draws so many of the names.
    """
    balance = recipe.balance
    if balance is None:
        return {}
    cells: dict[tuple[str, str], list[str]] = defaultdict(list)
    for image in images:
        if image.split != Split.TESTING:
            plane = (image.plane or "unknown") if balance.over == "plane" else ""
            cells[image.tumour_class or "unknown", plane].append(image.name)
    dropped: dict[str, str] = {}
    for (tumour_class, plane), names in sorted(cells.items()):
        peers = [
            len(others) for (other, _), others in cells.items() if balance.over == "class" or other == tumour_class
        ]
        n = min(peers) if balance.to == "least" else balance.to
        chosen = set(draw(names, n))
        what = f"{plane} {tumour_class}".strip()
        dropped |= {name: f"{n} of {len(names)} {what} images were drawn." for name in names if name not in chosen}
    return dropped
