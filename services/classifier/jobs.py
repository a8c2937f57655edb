"""What the classifier's workers do: load the images a job names, call the science, and return what to keep."""

from typing import TYPE_CHECKING, Any

from services.classifier.presets import NetworkConfig, TrainingConfig
from services.classifier.scenarios.composition import Composition, union
from services.classifier.scenarios.plan import PlannedPhase, plan_phases
from services.classifier.sources import Sources, load_images, open_sources, pool
from shared.artifacts.store import DraftArtifact
from shared.jobs.runner import Execution
from shared.tumour import CLASS_ORDER

if TYPE_CHECKING:
    from services.classifier.scenarios.run import Outcome

WEIGHTS_OBJECT = "weights.safetensors"


def finish_training(execution: Execution) -> list[DraftArtifact]:
    """Train and test one classifier; keep it and its report."""
    from services.classifier.metrics import summarise

    request = execution.request
    sources = _open(execution)
    composition = Composition.from_json("training set", request["composition"])
    phases = _plan(execution, sources, composition, request["seed"])
    outcome = _run(execution, sources, phases, request["seed"])
    facts = _facts(sources, phases)
    metrics = summarise(outcome.confusion)
    curves = {key: value for key, value in outcome.to_json().items() if key != "confusion"}
    name = request["name"] or f"{request['preset']} classifier"
    model = _model_draft(execution, sources, name, outcome, facts, metrics, curves)
    return [model, _report_draft(execution, sources, name, outcome, facts, metrics, curves)]


def run_scenario_part(execution: Execution) -> dict[str, Any]:
    """Train and test the classifier of one composition and seed; its numbers are the part's result."""
    sources = _open(execution)
    body = execution.request["compositions"][execution.spec["composition"]]
    composition, seed = Composition.from_json(body["name"], body), execution.spec["seed"]
    phases = _plan(execution, sources, composition, seed)
    outcome = _run(execution, sources, phases, seed)
    return {"composition": composition.name, "seed": seed, **outcome.to_json(), **_facts(sources, phases)}


def finish_scenario(execution: Execution) -> list[DraftArtifact]:
    """The report over all compositions and seeds."""
    import numpy as np

    from services.classifier.report import page, table_to_csv
    from services.classifier.scenarios import report

    request, results = execution.request, execution.results
    summaries = report.summarise_compositions(
        [
            report.SeedResult(
                composition=result["composition"],
                seed=result["seed"],
                confusion=np.array(result["confusion"], np.int64),
                n_real=result["n_real"],
                n_synthetic=result["n_synthetic"],
                phases=result["phases"],
                updates=result["updates"],
                train_seconds=result["train_seconds"],
            )
            for result in results
        ]
    )
    n_test = results[0]["n_test"]
    notes = report.scenario_notes(summaries, n_test, max(result["n_leaked"] for result in results))
    sources = _open(execution)
    notes += [*sources.leakage_notes, *_notes_on_classes(sources, request["compositions"])]
    chart, table = report.draw_chart(summaries), report.scenario_table(summaries)
    name = request["name"] or f"Scenario {request['scenario'] or 'of ' + str(len(summaries)) + ' compositions'}"
    put = execution.objects.put_blob
    draft = DraftArtifact(
        noun="report",
        kind="scenario",
        name=name,
        body={
            "report": {
                "scenario": request["scenario"],
                "preset": request["preset"],
                "updates": request["updates"],
                "n_test": n_test,
                "compositions": summaries,
                "notes": notes,
            },
            "objects": {
                "chart.png": put(chart),
                "table.csv": put(table_to_csv(table)),
                "report.html": put(page(name, table, chart, notes)),
            },
            "seeds": request["seeds"],
        },
        summary={
            "compositions": len(summaries),
            "seeds": request["seeds"],
            "accuracy": {s["name"]: round(s["accuracy"]["mean"], 4) for s in summaries},
        },
        parents=request["image_sets"],
    )
    return [draft]


def _model_draft(
    execution: Execution,
    sources: Sources,
    name: str,
    outcome: "Outcome",
    facts: dict[str, Any],
    metrics: dict[str, Any],
    curves: dict[str, Any],
) -> DraftArtifact:
    from services.classifier.network import weights_to_bytes

    request = execution.request
    weights = weights_to_bytes(outcome.trained.network)
    return DraftArtifact(
        noun="model",
        kind="classifier",
        name=name,
        body={
            "objects": {WEIGHTS_OBJECT: execution.objects.put_blob(weights)},
            "config": {
                **request["network"],
                "classes": [str(tumour_class) for tumour_class in CLASS_ORDER],
                "preset": request["preset"],
                "recipe": sources.recipe,
            },
            "card": {"data": facts, "metrics": metrics, "training": {**request["training"], **curves}},
            "seeds": [request["seed"]],
        },
        summary={"preset": request["preset"], "accuracy": metrics["accuracy"], "n_train": facts["n_train"]},
        parents=request["image_sets"],
    )


def _report_draft(
    execution: Execution,
    sources: Sources,
    name: str,
    outcome: "Outcome",
    facts: dict[str, Any],
    metrics: dict[str, Any],
    curves: dict[str, Any],
) -> DraftArtifact:
    from services.classifier.report import draw_confusion, metrics_table, page, table_to_csv

    seed = execution.request["seed"]
    notes = [f"Trained on {facts['n_real']} real and {facts['n_synthetic']} synthetic images, seed {seed}."]
    notes += sources.leakage_notes
    if facts["n_leaked"]:
        notes.append(f"{facts['n_leaked']} test images are byte-identical to training images; accuracy is too high.")
    table = metrics_table(metrics)
    confusion_png = draw_confusion(outcome.confusion.tolist(), [str(tumour_class) for tumour_class in CLASS_ORDER])
    put, title = execution.objects.put_blob, f"Test of {name}"
    return DraftArtifact(
        noun="report",
        kind="classification",
        name=title,
        body={
            "report": {"metrics": metrics, "data": facts, "training": curves, "notes": notes},
            "objects": {
                "confusion.png": put(confusion_png),
                "table.csv": put(table_to_csv(table)),
                "report.html": put(page(title, table, confusion_png, notes)),
            },
            "seeds": [seed],
        },
        summary={"accuracy": metrics["accuracy"], "n_test": metrics["n_images"]},
        parents=execution.request["image_sets"],
    )


def _open(execution: Execution) -> Sources:
    request = execution.request
    sets = request["real"], request["synthetic"], request["test"]
    crossing = request.get("crossing_patients")
    sources = open_sources(execution.artifacts, execution.owner, *sets, request.get("leakage_waiver"), crossing or [])
    if crossing is None:  # Asked for by a version before, some of whose parts may have been tested on all classes.
        return sources
    bodies = request.get("compositions") or [{"name": "training set", **request["composition"]}]
    return sources.tested_on(sources.select(Composition.from_json(body["name"], body)) for body in bodies)


def _notes_on_classes(sources: Sources, compositions: list[dict[str, Any]]) -> list[str]:
    """Which compositions lack a class that others have, and that all are tested on."""
    tested, notes = {record.tumour_class for record in sources.test.values()}, []
    for body in compositions:
        selection = sources.select(Composition.from_json(body["name"], body))
        learnt = {tumour_class for tumour_class, _ in selection.real + selection.synthetic}
        missing = ", ".join(name for name in CLASS_ORDER if name in tested - learnt)
        if missing:
            notes.append(f"{body['name']} was trained without {missing}: all test images of these count as wrong.")
    return notes


def _plan(execution: Execution, sources: Sources, composition: Composition, seed: int) -> list[PlannedPhase]:
    training = TrainingConfig(**execution.request["training"])
    return plan_phases(composition, pool(sources.real), pool(sources.synthetic), training, seed)


def _facts(sources: Sources, phases: list[PlannedPhase]) -> dict[str, Any]:
    """How many different images all phases together and each of them train on, and how many the test has."""
    selection = union([phase.selection for phase in phases])
    return {
        "n_train": len(selection),
        "n_real": len(selection.real),
        "n_synthetic": len(selection.synthetic),
        "n_test": len(sources.test),
        "n_leaked": sources.count_leaked(selection),
        "phases": [
            {
                "n_real": len(phase.selection.real),
                "n_synthetic": len(phase.selection.synthetic),
                "updates": phase.n_updates,
            }
            for phase in phases
        ],
    }


def _run(execution: Execution, sources: Sources, planned: list[PlannedPhase], seed: int) -> "Outcome":
    from services.classifier.scenarios.run import Phase, run_phases

    network = NetworkConfig(**execution.request["network"])
    phases = []
    for phase in planned:
        records = [sources.real[key] for _, key in phase.selection.real]
        records += [sources.synthetic[key] for _, key in phase.selection.synthetic]
        images = load_images(execution.objects, records, network.size_px, execution.progress)
        phases.append(Phase(images, phase.config))
    return run_phases(
        phases,
        load_images(execution.objects, list(sources.test.values()), network.size_px, execution.progress),
        network,
        seed,
        library_weights=_library_weights(execution) if network.architecture == "vgg19" else None,
        progress=execution.progress,
        resume=execution.load_resume(),
        save=execution.save_resume,
    )


def _library_weights(execution: Execution) -> bytes:
    from services.evaluator.weights.installed import load_weights

    return load_weights(execution.objects, "vgg19")
