"""Image sets as the classifier sees them: which images may be trained on, which are for testing, and their pixels."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Self

from services.classifier.scenarios.composition import Composition, Selection, select
from shared.artifacts.leakage import note_on_test_set, require_no_leakage
from shared.artifacts.lineage import find_models
from shared.artifacts.patients import corrected_images, find_patients_named_since
from shared.artifacts.store import Artifact, ArtifactStore
from shared.database import get_database
from shared.errors import InvalidInput
from shared.objects import ObjectStore
from shared.progress import Progress
from shared.tumour import CLASS_ORDER, Split, TumourClass

if TYPE_CHECKING:
    from services.classifier.scenarios.run import LabelledImages

READ_THREADS = 8
READ_AT_ONCE = 64

_CHOOSE_IMAGES: Final = frozenset(
    ("name", "duplicates", "near_duplicates", "leaks", "label_conflicts", "groups", "size_limits", "balance",
     "reduction", "planes", "seed", "draws", "leakage_waiver")
)  # fmt: skip
"""Members of a recipe that say which images are kept, and change no pixel of those that are."""


class TestSetPreparedOtherwise(InvalidInput):
    """Training and test images went through different preprocessing."""


class NoTestImages(InvalidInput):
    """There is no real image to test on."""


class NotARealSet(InvalidInput):
    """Synthetic images were given where real ones are needed."""


class NotASyntheticSet(InvalidInput):
    """Real images were given where synthetic ones are needed."""


@dataclass(frozen=True)
class ImageRecord:
    """One stored image: its class and the hash of its bytes."""

    tumour_class: TumourClass
    sha256: str


Records = dict[str, ImageRecord]
"""Records by key; a key is `<set id>/<name>`, since names are unique only within a set."""


@dataclass(frozen=True)
class Sources:
    """All images a request may use."""

    real: Records
    synthetic: Records
    test: Records
    recipe: dict[str, Any] | None
    real_id: str
    synthetic_ids: list[str]
    test_id: str
    leakage_notes: list[str]
    crossing_patients: tuple[str, ...] = ()

    def select(self, composition: Composition) -> Selection:
        """The images of this composition's first phase; the selection's names are keys."""
        return select(composition, pool(self.real), pool(self.synthetic))

    def tested_on(self, selections: Iterable[Selection]) -> Self:
        """These with the test images of the classes alone that a selection has: no other can be answered right.

        Raises:
            NoTestImages: there are none of these classes.
        """
        learnt = {name for selection in selections for name, _ in selection.real + selection.synthetic}
        test = {key: record for key, record in self.test.items() if record.tumour_class in learnt}
        absent = [
            name for name in CLASS_ORDER if name in {record.tumour_class for record in self.test.values()} - learnt
        ]
        if not absent:
            return self
        classes = ", ".join(name for name in CLASS_ORDER if name in learnt)
        if not test:
            raise NoTestImages(f"The image set {self.test_id} has no test images of the classes trained on: {classes}.")
        note = (
            f"Tested on {classes}: the {len(self.test) - len(test)} test images of {', '.join(absent)} are left out, "
            "as nothing was trained on these classes."
        )
        return replace(self, test=test, leakage_notes=[*self.leakage_notes, note])

    def used_sets(self, selections: Iterable[Selection]) -> list[str]:
        """The real set, which gives the recipe too, the synthetic sets that the selections draw from, the test set."""
        drawn = {key.partition("/")[0] for selection in selections for _, key in selection.synthetic}
        synthetic = [set_id for set_id in self.synthetic_ids if set_id in drawn]
        return list(dict.fromkeys([self.real_id, *synthetic, self.test_id]))

    def count_leaked(self, selection: Selection) -> int:
        """Test images whose bytes are also among the selected real ones."""
        trained_on = {self.real[key].sha256 for _, key in selection.real}
        return sum(record.sha256 in trained_on for record in self.test.values())


def open_sources(
    artifacts: ArtifactStore,
    owner: str,
    real_id: str,
    synthetic_ids: Sequence[str],
    test_id: str | None,
    leakage_waiver: str | None = None,
    crossing_patients: Sequence[str] | None = None,
) -> Sources:
    """Read the manifests and sort the images into real training, synthetic and test images.

    Args:
        artifacts: where manifests are.
        owner: whose sets.
        real_id: the set that is trained on.
        synthetic_ids: sets that a composition may add images of.
        test_id: another real set to test on; None: the Testing images of the first.
        leakage_waiver: why leakage is accepted, if it is.
        crossing_patients: what `Sources.crossing_patients` was when the work was asked for; None: look now.

    Raises:
        ImageSetNotFound: no such set, or somebody else's.
        NotARealSet, NotASyntheticSet: a set is of the other kind.
        TestSetPreparedOtherwise: it went through another recipe.
        NoTestImages: nothing to test on.
        KnownLeakage: images tested on occur in Training of the same set, and neither `leakage_waiver` nor the set says
            why that is accepted.
    """
    real_set = _real_set(artifacts, owner, real_id)
    manifest = artifacts.manifest(real_set)
    test_set = _real_set(artifacts, owner, test_id) if test_id else real_set
    test_manifest = artifacts.manifest(test_set)
    if _pixel_steps(test_manifest) != _pixel_steps(manifest):
        raise TestSetPreparedOtherwise(
            f"The test set {test_set.id} was not prepared as the training set {real_set.id} was, and the accuracy "
            f"would measure the difference; preprocess it with the `recipe` in the manifest of {real_set.id}."
        )
    # Where another set is tested on, copies of this one's Testing images in its Training say nothing of the accuracy.
    if test_set.id == real_set.id:
        if crossing_patients is None:
            images = corrected_images(artifacts, get_database(), real_set, manifest)
            crossing_patients = find_patients_named_since(images, manifest)
        notes = require_no_leakage(real_set, manifest, leakage_waiver, crossing_patients)
    else:
        notes = note_on_test_set(manifest, test_manifest)
    test = _records(test_manifest, [Split.TESTING])
    if not test and test_set.id != real_set.id:
        test = _records(test_manifest, [None])
    if not test:
        raise NoTestImages(
            f"The image set {test_set.id} has no Testing images of the four classes; upload images as "
            "Testing/<class>/<file>, or name another real set as `test`."
        )
    synthetic: Records = {}
    for set_id in synthetic_ids:
        artifact = artifacts.get(set_id, owner, "image_set")
        if artifact.kind != "synthetic":
            raise NotASyntheticSet(f"The image set {set_id} is {artifact.kind}, not synthetic; name it as `real`.")
        synthetic |= _records(artifacts.manifest(artifact), [*Split, None])
        notes += _note_on_generators(artifacts, artifact, test_set, owner)
    real = _records(manifest, [Split.TRAINING, None])
    ids = real_set.id, [*synthetic_ids], test_set.id
    return Sources(real, synthetic, test, manifest.get("recipe"), *ids, notes, tuple(crossing_patients or ()))


def pool(records: Records) -> dict[TumourClass, list[str]]:
    """The keys per class, in the order of the sets."""
    keys: dict[TumourClass, list[str]] = {name: [] for name in CLASS_ORDER}
    for key, record in records.items():
        keys[record.tumour_class].append(key)
    return keys


def load_images(
    objects: ObjectStore, records: Sequence[ImageRecord], size_px: int, progress: Progress
) -> "LabelledImages":
    """Read, decode to gray and fit to the network's size.

    Args:
        objects: where the bytes are.
        records: which images.
        size_px: side of the result in pixels.
        progress: asked between pieces whether to go on.
    """
    import numpy as np

    from services.classifier.inference import decode_gray, fit_size
    from services.classifier.scenarios.run import LabelledImages

    def load(record: ImageRecord) -> Any:
        return fit_size(decode_gray(objects.get_blob(record.sha256)), size_px)

    images: list[Any] = []
    with ThreadPoolExecutor(READ_THREADS) as threads:
        for start in range(0, len(records), READ_AT_ONCE):
            progress.raise_if_cancelled()
            images += threads.map(load, records[start : start + READ_AT_ONCE])
    stacked = np.stack(images) if images else np.empty((0, size_px, size_px), np.uint8)
    indices = np.array([CLASS_ORDER.index(record.tumour_class) for record in records], np.int64)
    return LabelledImages(stacked, indices)


def _real_set(artifacts: ArtifactStore, owner: str, set_id: str) -> Artifact:
    artifact = artifacts.get(set_id, owner, "image_set")
    if artifact.kind == "synthetic":
        raise NotARealSet(
            f"The image set {set_id} is synthetic. Classifiers are tested on real images, and synthetic ones are "
            "added by `synthetic` with a `composition`."
        )
    return artifact


def _pixel_steps(manifest: dict[str, Any]) -> dict[str, Any] | None:
    recipe = manifest.get("recipe")
    return recipe and {member: value for member, value in recipe.items() if member not in _CHOOSE_IMAGES}


def _note_on_generators(artifacts: ArtifactStore, synthetic: Artifact, test_set: Artifact, owner: str) -> list[str]:
    """What a report must say where a generator may have learned from images that are tested on.

    Its images of the set that is tested on are Training images, which the leakage gate looks at; of other sets nobody
    knows whether they hold copies of the test images.
    """
    notes, models = [], find_models(artifacts, synthetic, owner)
    for model in models:  # It grows by those that models began with.
        begun_with = find_models(artifacts, model, owner) if model.owner == owner else []
        models += [start for start in begun_with if start.id not in {each.id for each in models}]
        parents = artifacts.manifest(model)["parents"] if model.owner == owner else []
        learned = [parent for parent in parents if parent.startswith("set-")]
        if test_set.id in learned:
            continue
        images = f"images of {', '.join(learned)}" if learned else "images that are not known here"
        notes.append(
            f"The generator {model.id} of {synthetic.id} was trained on {images}: whether copies of images tested on "
            "were among them was never checked."
        )
    return notes


def _records(manifest: dict[str, Any], splits: Sequence[Split | None]) -> Records:
    known = {str(name) for name in CLASS_ORDER}
    return {
        f"{manifest['id']}/{image['name']}": ImageRecord(TumourClass(image["class"]), image["sha256"])
        for image in manifest["images"]
        if image["class"] in known and image["split"] in splits
    }
