"""Where images come from is found through sets that leave images out, and through models that began with others."""

import pytest

from services.evaluator.features.spaces import has_seen
from shared.artifacts.lineage import find_models, find_real_sets
from shared.artifacts.store import Artifact, ArtifactStore, DraftArtifact

pytestmark = pytest.mark.services
OWNER = "team"


def keep(artifacts: ArtifactStore, noun: str, kind: str, *parents: Artifact | str, owner: str = OWNER) -> Artifact:
    ids = [parent if isinstance(parent, str) else parent.id for parent in parents]
    return artifacts.create(DraftArtifact(noun, kind, kind, {"images": []}, parents=ids), owner=owner)


def test_sets_without_some_images_lead_back_to_the_upload(artifacts: ArtifactStore) -> None:
    raw = keep(artifacts, "image_set", "raw")
    prepared = keep(artifacts, "image_set", "preprocessed", raw)
    report = keep(artifacts, "report", "audit", prepared)
    fewer = keep(artifacts, "image_set", "raw", raw, report)
    again = keep(artifacts, "image_set", "preprocessed", fewer)
    assert find_real_sets(artifacts, [again.id], OWNER) == {again.id, fewer.id, raw.id}
    classifier = keep(artifacts, "model", "classifier", prepared)
    assert has_seen(artifacts, classifier.id, again)
    assert not has_seen(artifacts, classifier.id, keep(artifacts, "image_set", "preprocessed", "set-gone"))


def test_a_classifier_has_not_seen_the_set_that_it_was_only_tested_on(artifacts: ArtifactStore) -> None:
    trained_on, tested_on = (keep(artifacts, "image_set", "preprocessed") for _ in range(2))
    draft = DraftArtifact("model", "classifier", "c", {}, parents=[trained_on.id, tested_on.id])
    request = {"real": trained_on.id, "synthetic": [], "test": tested_on.id}
    classifier = artifacts.create(draft, owner=OWNER, request=request)
    assert has_seen(artifacts, classifier.id, trained_on)
    assert not has_seen(artifacts, classifier.id, tested_on)


@pytest.mark.parametrize(("data", "seen"), [({"n_real": 0}, False), ({"n_real": 3}, True), ({}, True)])
def test_a_classifier_trained_on_synthetic_images_only_has_seen_no_real_set(
    artifacts: ArtifactStore, data: dict[str, int], seen: bool
) -> None:
    real, synthetic = keep(artifacts, "image_set", "preprocessed"), keep(artifacts, "image_set", "synthetic")
    body = {"card": {"data": data}}
    draft = DraftArtifact("model", "classifier", "c", body, parents=[real.id, synthetic.id])
    request = {"real": real.id, "synthetic": [synthetic.id], "test": None}
    classifier = artifacts.create(draft, owner=OWNER, request=request)
    assert has_seen(artifacts, classifier.id, real) is seen


def test_synthetic_sets_without_some_images_lead_back_to_their_model(artifacts: ArtifactStore) -> None:
    first = keep(artifacts, "model", "diffusion")
    real = keep(artifacts, "image_set", "preprocessed")
    model = keep(artifacts, "model", "diffusion", real, first)
    drawn = keep(artifacts, "image_set", "synthetic", model)
    fewer = keep(artifacts, "image_set", "synthetic", drawn, keep(artifacts, "report", "audit", drawn, real))
    grown = keep(artifacts, "image_set", "synthetic", model, fewer)
    for image_set in (drawn, fewer, grown):
        assert [found.id for found in find_models(artifacts, image_set, OWNER)] == [model.id]
    assert [found.id for found in find_models(artifacts, model, OWNER)] == [first.id]
    assert find_real_sets(artifacts, [drawn.id], OWNER) == {drawn.id}


def test_what_is_somebody_elses_or_gone_is_passed_over(artifacts: ArtifactStore) -> None:
    foreign = keep(artifacts, "model", "diffusion", owner="others")
    drawn = keep(artifacts, "image_set", "synthetic", foreign, "mdl-gone")
    assert find_models(artifacts, drawn, OWNER) == []
