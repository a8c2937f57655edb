"""The service over HTTP with a real database and object store: train, classify, run a scenario, refuse."""

import asyncio
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from services.classifier import jobs, serving, sources
from services.classifier.presets import TrainingConfig
from services.classifier.scenarios.composition import Composition, Count, FineTuning
from services.classifier.scenarios.plan import plan_phases
from services.preprocess.recipe import Recipe
from shared.artifacts.annotations import correct_images
from shared.artifacts.leakage import KnownLeakage
from shared.artifacts.store import Artifact, ArtifactStore, DraftArtifact
from shared.database import Database
from shared.jobs.runner import run_shard
from shared.jobs.store import JobStore
from shared.settings import Settings
from shared.tumour import CLASS_ORDER

pytestmark = pytest.mark.services

Shapes = tuple[NDArray[np.uint8], NDArray[np.int64]]
OWNER = "team-a"
RECIPE = Recipe(name="custom", clahe=None, size_px=32).model_dump()
QUICK = {"epochs": 2, "batch_size": 16, "size": 32}


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """The jobs suite covers PostgreSQL; here one database is enough."""
    return f"sqlite:///{tmp_path / 'synthmri.db'}"


class Client:
    """Posts to the app in this process, as the gateway does over HTTP."""

    def __init__(self, app: Any, headers: dict[str, str]) -> None:
        self._app, self._headers = app, headers

    def post(self, path: str, *, headers: dict[str, str] | None = None, **content: Any) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
                return await client.post(path, headers={**self._headers, **(headers or {})}, **content)

        return asyncio.run(send())


@pytest.fixture
def client(settings: Settings, artifacts: ArtifactStore) -> Iterator[Client]:
    serving.warm_models.cache_clear()
    app = importlib.import_module("services.classifier.api").app
    headers = {"X-Internal-Token": settings.internal_token, "X-SynthMRI-Owner": OWNER}
    yield Client(app, headers)
    serving.warm_models.cache_clear()


def keep_set(
    artifacts: ArtifactStore, shapes: Shapes, kind: str, splits: tuple[str | None, ...], **members: Any
) -> Artifact:
    """An image set of the shapes, dealt over the splits in turn; shapes go through the classes in turn too."""
    images: list[dict[str, Any]] = []
    objects = artifacts._objects
    for k, (image, index) in enumerate(zip(*shapes, strict=True)):
        tumour_class, split = str(CLASS_ORDER[index]), splits[k // 4 % len(splits)]
        sha256 = objects.put_blob(cv2.imencode(".png", image)[1].tobytes())
        name = "/".join(part for part in (split, tumour_class, f"{k}.png") if part)
        images.append(
            {
                "name": name,
                "class": tumour_class,
                "split": split,
                "plane": None,
                "sha256": sha256,
                "width": 32,
                "height": 32,
                "source": None,
                "parameters": {},
            }
        )
    parents = members.pop("parents", [])
    body = {"images": images, "recipe": RECIPE if kind == "preprocessed" else None, **members}
    return artifacts.create(DraftArtifact("image_set", kind, kind, body, parents=parents), owner=OWNER)


@pytest.fixture
def real(artifacts: ArtifactStore, shapes: Shapes) -> Artifact:
    return keep_set(artifacts, shapes, "preprocessed", ("Training", "Testing"))


@pytest.fixture
def synthetic(artifacts: ArtifactStore, other_shapes: Shapes) -> Artifact:
    return keep_set(artifacts, other_shapes, "synthetic", (None,))


def work_off(jobs_store: JobStore, job_id: str) -> dict[str, Any]:
    """Do what the worker would do with the job's messages; returns the finished job."""
    kind = jobs_store.get(job_id, OWNER)["kind"]
    work, finish = {
        "classifier.train": (None, jobs.finish_training),
        "scenario": (jobs.run_scenario_part, jobs.finish_scenario),
    }[kind]
    for number in jobs_store.queued_shards(job_id):
        run_shard(job_id, number, work=work, finish=finish)
    job = jobs_store.get(job_id, OWNER)
    assert job["status"] == "succeeded", job["error"]
    return job


def png(image: NDArray[np.uint8]) -> dict[str, tuple[str, bytes]]:
    return {"file": ("slice.png", cv2.imencode(".png", image)[1].tobytes())}


def test_train_then_classify(
    client: Client, jobs: JobStore, artifacts: ArtifactStore, real: Artifact, shapes: Shapes
) -> None:
    missing = client.post("/classify", files=png(shapes[0][0]))
    assert missing.status_code == 404
    assert "POST /models/classifier" in missing.json()["detail"]

    answer = client.post("/models/classifier", json={"train": real.id, **QUICK, "epochs": 12, "seed": 5})
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/jobs/{answer.json()['id']}"
    work_off(jobs, answer.json()["id"])

    model = artifacts.newest("model", "classifier", OWNER)
    report = artifacts.newest("report", "classification", OWNER)
    assert model is not None
    assert report is not None
    config = artifacts.manifest(model)["config"]
    assert config["recipe"] == RECIPE
    body = artifacts.manifest(report)
    assert body["report"]["data"] == {
        "n_train": 32, "n_real": 32, "n_synthetic": 0, "n_test": 32, "n_leaked": 0,
        "phases": [{"n_real": 32, "n_synthetic": 0, "updates": 24}],
    }  # fmt: skip
    assert body["report"]["metrics"]["accuracy"] > 0.8
    assert set(body["objects"]) == {"confusion.png", "table.csv", "report.html"}
    assert body["parents"] == [real.id]

    said = client.post("/classify", files=png(shapes[0][4])).json()
    assert said["model"] == model.id
    assert said["class"] == "glioma"
    assert sum(said["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert any("not a medical device" in warning for warning in said["warnings"])
    assert "heat_map" not in said

    explained = client.post(f"/classify?model={model.id}&explain=true", files=png(shapes[0][4])).json()
    assert explained["heat_map"].startswith("data:image/png;base64,")
    coloured = np.stack([shapes[0][4], shapes[0][4] // 2, shapes[0][4]], axis=-1)
    assert any("colour" in w for w in client.post("/classify", files=png(coloured)).json()["warnings"])

    not_an_image = client.post("/classify", files={"file": ("a.png", b"hello")})
    assert not_an_image.status_code == 422
    assert client.post(f"/classify?model={real.id}", files=png(shapes[0][0])).json()["code"] == "model_not_found"
    stranger = client.post("/classify", files=png(shapes[0][0]), headers={"X-SynthMRI-Owner": "team-b"})
    assert stranger.status_code == 404


def test_a_scenario_has_a_part_per_composition_and_seed(
    client: Client, jobs: JobStore, artifacts: ArtifactStore, real: Artifact, synthetic: Artifact
) -> None:
    few, more = {"real": 4}, {"real": 4, "synthetic": 8}
    empty = artifacts.create(DraftArtifact("image_set", "synthetic", "none", {"images": []}), owner=OWNER)
    request = {
        "real": real.id,
        "synthetic": [synthetic.id, empty.id],
        "compositions": {
            "few": {str(name): few for name in CLASS_ORDER},
            "more": {str(name): more for name in CLASS_ORDER},
        },
        "seeds": [1],
        **QUICK,
    }
    answer = client.post("/scenarios", json=request)
    assert answer.status_code == 202
    # 16 and 48 images in batches of 16: 2 epochs of the larger are 6 updates, for both.
    assert answer.json()["progress"]["total"] == 12
    work_off(jobs, answer.json()["id"])
    report = artifacts.newest("report", "scenario", OWNER)
    assert report is not None
    body = artifacts.manifest(report)
    assert [(c["name"], c["n_real"], c["n_synthetic"], c["updates"]) for c in body["report"]["compositions"]] == [
        ("few", 16, 0, 6),
        ("more", 16, 32, 6),
    ]
    assert set(body["objects"]) == {"chart.png", "table.csv", "report.html"}
    assert set(body["parents"]) == {real.id, synthetic.id}


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/models/classifier", {"train": "set-none"}, 404, "image_set_not_found"),
        ("/models/classifier", {"train": "REAL", "preset": "resnet"}, 422, "invalid_request"),
        ("/models/classifier", {"train": "REAL", "preset": "study"}, 409, "weights_not_installed"),
        ("/models/classifier", {"train": "REAL", "epoch": 3}, 422, "invalid_request"),
        ("/models/classifier", {"train": "SYNTHETIC"}, 422, "not_a_real_set"),
        ("/models/classifier", {"train": "REAL", "test": "SYNTHETIC"}, 422, "not_a_real_set"),
        ("/models/classifier", {"train": {"real": "REAL", "synthetic": ["REAL"]}}, 422, "not_a_synthetic_set"),
        ("/models/classifier", {"train": {"real": "REAL", "synthetic": ["SYNTHETIC"]}}, 422, "synthetic_images_unused"),
        (
            "/models/classifier",
            {"train": {"real": "REAL", "synthetic": ["SYNTHETIC"], "composition": {"glioma": {"real": 2}}}},
            422,
            "synthetic_images_unused",
        ),
        ("/models/classifier", {"train": "set\0"}, 422, "invalid_request"),
        ("/models/classifier", {"train": "REAL", "name": "a\0b"}, 422, "invalid_request"),
        ("/scenarios", {"real": "REAL", "compositions": {"a\0": {"glioma": {"real": 2}}}}, 422, "invalid_request"),
        (
            "/models/classifier",
            {"train": {"real": "REAL", "composition": {"glioma": {"real": 2}}}},
            422,
            "empty_composition",
        ),
        ("/scenarios", {"real": "REAL"}, 422, "name_one_scenario"),
        ("/scenarios", {"real": "REAL", "scenario": "9"}, 422, "unknown_scenario"),
        ("/scenarios", {"real": "REAL", "scenario": "4"}, 422, "not_enough_images"),
        ("/scenarios", {"real": "REAL", "scenario": "4", "seeds": []}, 422, "invalid_request"),
    ],
)
def test_a_bad_request_is_refused_in_words_and_makes_no_job(
    client: Client,
    jobs: JobStore,
    real: Artifact,
    synthetic: Artifact,
    path: str,
    body: dict[str, Any],
    status: int,
    code: str,
) -> None:
    def with_ids(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: with_ids(item) for key, item in value.items()}
        if isinstance(value, list):
            return [with_ids(item) for item in value]
        return {"REAL": real.id, "SYNTHETIC": synthetic.id}.get(value, value) if isinstance(value, str) else value

    answer = client.post(path, json=with_ids(body))
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json()["detail"]
    assert jobs.list(OWNER)[0] == []


def test_a_set_without_testing_images_is_refused(
    client: Client, artifacts: ArtifactStore, other_shapes: Shapes
) -> None:
    training_only = keep_set(artifacts, other_shapes, "preprocessed", ("Training",))
    answer = client.post("/models/classifier", json={"train": training_only.id})
    assert answer.json()["code"] == "no_test_images"


def test_test_images_that_were_trained_on_are_counted(artifacts: ArtifactStore, other_shapes: Shapes) -> None:
    training = keep_set(artifacts, other_shapes, "preprocessed", ("Training",))
    same = keep_set(artifacts, other_shapes, "preprocessed", ("Testing",))
    opened = sources.open_sources(artifacts, OWNER, training.id, [], same.id)
    everything = Composition("all", {name: Count("all") for name in CLASS_ORDER})
    assert opened.count_leaked(opened.select(everything)) == 32
    half = Composition("half", {name: Count(4) for name in CLASS_ORDER})
    assert opened.count_leaked(opened.select(half)) == 16


def test_known_leakage_needs_a_waiver_that_the_reports_repeat(
    client: Client, jobs: JobStore, artifacts: ArtifactStore, other_shapes: Shapes
) -> None:
    found = {"checked": True, "exact": 4, "near": 2, "groups": 0, "kept": 6, "waiver": None}
    real = keep_set(artifacts, other_shapes, "preprocessed", ("Training", "Testing"), leakage=found)
    composition = {str(name): {"real": 4} for name in CLASS_ORDER}
    for path, body, kind in (
        ("/models/classifier", {"train": real.id, **QUICK}, "classification"),
        ("/scenarios", {"real": real.id, "compositions": {"few": composition}, "seeds": [1], **QUICK}, "scenario"),
    ):
        refused = client.post(path, json=body)
        assert (refused.status_code, refused.json()["code"]) == (409, "known_leakage")
        assert "6 Testing images" in refused.json()["detail"]
        answer = client.post(path, json={**body, "leakage_waiver": "to measure its effect"})
        assert answer.status_code == 202, answer.text
        work_off(jobs, answer.json()["id"])
        report = artifacts.newest("report", kind, OWNER)
        assert report is not None
        manifest = artifacts.manifest(report)
        assert manifest["request"]["leakage_waiver"] == "to measure its effect"
        assert any("to measure its effect" in note for note in manifest["report"]["notes"])


def test_leakage_within_a_set_does_not_matter_where_another_is_tested_on(
    artifacts: ArtifactStore, real: Artifact, other_shapes: Shapes
) -> None:
    found = {"checked": True, "exact": 4, "near": 2, "groups": 0, "kept": 6, "waiver": None}
    leaky = keep_set(artifacts, other_shapes, "preprocessed", ("Training", "Testing"), leakage=found)
    opened = sources.open_sources(artifacts, OWNER, leaky.id, [], real.id)
    (note,) = opened.leakage_notes
    assert "never checked" in note


def test_what_was_never_checked_for_leakage_is_noted(
    artifacts: ArtifactStore, real: Artifact, other_shapes: Shapes
) -> None:
    clean = {"checked": True, "exact": 0, "near": 0, "groups": 0, "kept": 0, "waiver": None}
    checked = keep_set(artifacts, other_shapes, "preprocessed", ("Training", "Testing"), leakage=clean)
    raw = keep_set(artifacts, other_shapes, "raw", ("Training", "Testing"))
    expected = {(checked.id, None): 0, (real.id, None): 1, (raw.id, None): 1, (checked.id, real.id): 1}
    for (real_id, test_id), n_notes in expected.items():
        opened = sources.open_sources(artifacts, OWNER, real_id, [], test_id)
        assert ["never checked" in note for note in opened.leakage_notes] == [True] * n_notes


def test_a_test_set_of_another_recipe_is_refused(
    artifacts: ArtifactStore, real: Artifact, other_shapes: Shapes
) -> None:
    body = {"images": artifacts.manifest(real)["images"], "recipe": {"name": "another"}}
    other = artifacts.create(DraftArtifact("image_set", "preprocessed", "other", body), owner=OWNER)
    with pytest.raises(sources.TestSetPreparedOtherwise, match="the `recipe` in the manifest"):
        sources.open_sources(artifacts, OWNER, real.id, [], other.id)


def test_a_recipe_that_only_keeps_other_images_is_no_other_preparation(
    artifacts: ArtifactStore, real: Artifact, other_shapes: Shapes
) -> None:
    kept = {**RECIPE, "name": "rigorous", "leaks": "training", "seed": 3}
    other = keep_set(artifacts, other_shapes, "preprocessed", ("Testing",), recipe=kept)
    assert sources.open_sources(artifacts, OWNER, real.id, [], other.id).test_id == other.id
    sharper = keep_set(artifacts, other_shapes, "preprocessed", ("Testing",), recipe={**kept, "encoding": "jpeg95"})
    with pytest.raises(sources.TestSetPreparedOtherwise):
        sources.open_sources(artifacts, OWNER, real.id, [], sharper.id)


def test_classes_that_nothing_was_trained_on_are_not_tested(
    client: Client, jobs: JobStore, artifacts: ArtifactStore, real: Artifact
) -> None:
    pair, three = {"glioma": {"real": 8}, "notumor": {"real": 8}}, {"pituitary": {"real": 8}}
    answer = client.post("/models/classifier", json={"train": {"real": real.id, "composition": pair}, **QUICK})
    work_off(jobs, answer.json()["id"])
    report = artifacts.newest("report", "classification", OWNER)
    assert report is not None
    told = artifacts.manifest(report)["report"]
    assert told["metrics"]["n_images"] == 16
    assert any("16 test images of meningioma, pituitary are left out" in note for note in told["notes"])
    body = {"real": real.id, "compositions": {"two": pair, "three": pair | three}, "seeds": [1], **QUICK}
    work_off(jobs, client.post("/scenarios", json=body).json()["id"])
    report = artifacts.newest("report", "scenario", OWNER)
    assert report is not None
    told = artifacts.manifest(report)["report"]
    assert told["n_test"] == 24
    assert any(note.startswith("two was trained without pituitary") for note in told["notes"])


def test_patients_named_after_the_preparation_are_leakage_too(
    client: Client, artifacts: ArtifactStore, database: Database, real: Artifact
) -> None:
    images = artifacts.manifest(real)["images"]
    names = [next(image["name"] for image in images if image["split"] == split) for split in ("Training", "Testing")]
    correct_images(database, real, {names[0]: {"group": "p1"}}, by="key")
    assert client.post("/models/classifier", json={"train": real.id, **QUICK}).status_code == 202
    correct_images(database, real, {names[1]: {"group": "p1"}}, by="key")
    refused = client.post("/models/classifier", json={"train": real.id, **QUICK})
    assert (refused.status_code, refused.json()["code"]) == (409, "known_leakage")
    assert "(p1)" in refused.json()["detail"]
    opened = sources.open_sources(artifacts, OWNER, real.id, [], None, "to measure it")
    assert opened.crossing_patients == ("p1",)
    assert any("to measure it" in note for note in opened.leakage_notes)
    # The same of the raw set that it was prepared from.
    raw_images = [{**image, "source": None} for image in images]
    raw = artifacts.create(DraftArtifact("image_set", "raw", "raw", {"images": raw_images}), owner=OWNER)
    sourced = [{**image, "source": image["name"]} for image in images]
    body = {"images": sourced, "recipe": RECIPE}
    prepared = artifacts.create(
        DraftArtifact("image_set", "preprocessed", "prepared", body, parents=[raw.id]), owner=OWNER
    )
    assert sources.open_sources(artifacts, OWNER, prepared.id, [], None).crossing_patients == ()
    correct_images(database, raw, {name: {"group": "p2"} for name in names}, by="key")
    with pytest.raises(KnownLeakage, match="p2"):
        sources.open_sources(artifacts, OWNER, prepared.id, [], None)
    # A worker goes by what was known when the work was asked for.
    assert sources.open_sources(artifacts, OWNER, real.id, [], None, None, []).crossing_patients == ()


def test_a_generator_that_learned_from_other_images_is_noted(
    artifacts: ArtifactStore, real: Artifact, other_shapes: Shapes
) -> None:
    elsewhere = keep_set(artifacts, other_shapes, "preprocessed", ("Training",))
    expected = {(real.id,): [], (elsewhere.id,): [elsewhere.id], (): ["not known here"]}
    for parents, words in expected.items():
        draft = DraftArtifact("model", "diffusion", "generator", {"config": {}, "objects": {}}, parents=[*parents])
        model = artifacts.create(draft, owner=OWNER)
        drawn = keep_set(artifacts, other_shapes, "synthetic", (None,), parents=[model.id])
        opened = sources.open_sources(artifacts, OWNER, real.id, [drawn.id], None)
        notes = [note for note in opened.leakage_notes if model.id in note]
        assert len(notes) == len(words)
        assert all(word in note for word, note in zip(words, notes, strict=True))
    begun = DraftArtifact("model", "diffusion", "begun", {"config": {}, "objects": {}}, parents=[real.id, model.id])
    drawn = keep_set(artifacts, other_shapes, "synthetic", (None,), parents=[artifacts.create(begun, owner=OWNER).id])
    (note,) = sources.open_sources(artifacts, OWNER, real.id, [drawn.id], None).leakage_notes[1:]
    assert model.id in note


def test_a_fine_tuned_composition_counts_the_images_of_both_phases(
    artifacts: ArtifactStore, real: Artifact, synthetic: Artifact
) -> None:
    opened = sources.open_sources(artifacts, OWNER, real.id, [synthetic.id], None)
    tuning = FineTuning(0.5, dict.fromkeys(CLASS_ORDER, 8), 0.5)
    composition = Composition("5", {name: Count("all") for name in CLASS_ORDER}, tuning)
    config = TrainingConfig(epochs=2, batch_size=16)
    phases = plan_phases(composition, sources.pool(opened.real), sources.pool(opened.synthetic), config, 33)
    assert jobs._facts(opened, phases) == {
        "n_train": 64, "n_real": 32, "n_synthetic": 32, "n_test": 32, "n_leaked": 0,
        "phases": [
            {"n_real": 32, "n_synthetic": 0, "updates": 4},
            {"n_real": 16, "n_synthetic": 32, "updates": 3},
        ],
    }  # fmt: skip
    assert opened.used_sets([phases[0].selection]) == [real.id]
    assert opened.used_sets(phase.selection for phase in phases) == [real.id, synthetic.id]


def test_no_test_image_is_ever_trained_on(artifacts: ArtifactStore, real: Artifact, synthetic: Artifact) -> None:
    opened = sources.open_sources(artifacts, OWNER, real.id, [synthetic.id], None)
    everything = Composition("all", {name: Count("all", 8) for name in CLASS_ORDER})
    chosen = {key for _, key in opened.select(everything).real}
    assert chosen
    assert not chosen & opened.test.keys()
    assert all("/Testing/" in key for key in opened.test)
    assert opened.count_leaked(opened.select(everything)) == 0
