"""`make demo`: the platform's main job from beginning to end, through the HTTP API only."""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from deploy.embedded.console import CannotStart
from deploy.embedded.demo_data import DemoImages, choose_images, draw_phantom_images
from deploy.embedded.demo_report import write_report
from deploy.embedded.demo_story import Json, Story
from deploy.embedded.folder import DataFolder
from deploy.embedded.plan import folder_from
from deploy.embedded.start import up
from shared.client import ApiProblem, JobUnsuccessful, SynthMRI

N_SYNTHETIC = 64
TRAINING_S = 240.0
TRIAL_EPOCHS = 2
FEWEST_EPOCHS, MOST_EPOCHS = 30, 300
CLASSIFIER_EPOCHS = 12
SCENARIO_EPOCHS = 6
SCENARIO_SEEDS = [33, 66]
SEED = 7


def main(arguments: list[str] | None = None) -> int:
    """Run the demo and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m deploy.embedded.demo", description=__doc__)
    parser.add_argument("--data", type=Path, help="a folder of MRIs by split and class; without it phantoms are drawn")
    parser.add_argument("--output", type=Path, default=Path("demo-output"), help="where the pictures go")
    parser.add_argument("--epochs", type=int, help="how long the diffusion model trains; by default about four minutes")
    options = parser.parse_args(arguments)
    console = Console()
    try:
        run_demo(console, options.data, options.output, options.epochs)
    except (CannotStart, ApiProblem, JobUnsuccessful) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted. The platform goes on running; `make down` stops it.\n")
        return 130
    return 0


def run_demo(console: Console, data: Path | None, output: Path, epochs: int | None = None) -> None:
    """Do every step, and leave pictures and a summary in `output`; the platform is left running."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        images = choose_images(data, f"a choice of {data}") if data else draw_phantom_images(Path(scratch))
        folder = folder_from(os.environ)
        was_running = folder.is_running()
        up(os.environ)
        with connect(folder) as platform:
            story = Story(platform, console)
            tell(story, images, epochs)
            write_report(story.platform, story.stages, story.results, images, output)
    console.print((output / "summary.md").read_text(), markup=False, highlight=False, soft_wrap=True)
    console.print(f"The demo took {time.monotonic() - began:.0f} s; its pictures are in {output}/.", highlight=False)
    url = folder.read_state()["url"]
    state = "was running before and still is" if was_running else "was started for this demo and goes on running"
    console.print(f"The platform at {url} {state}; `make down` stops it.", highlight=False)


def connect(folder: DataFolder) -> SynthMRI:
    """The running platform of `folder`, seen with its first API key."""
    return SynthMRI(folder.read_state()["url"], folder.api_key.read_text().strip())


def tell(story: Story, images: DemoImages, epochs: int | None) -> None:
    """All stages in order; each reads what the ones before it left in `story.results`."""
    story.console.print(f"Images: {images.origin}", highlight=False)
    upload(story, images)
    preprocess(story)
    train_diffusion(story, epochs)
    generate(story)
    train_classifier(story)
    evaluate(story)
    classify(story, images)
    run_scenario(story)


def upload(story: Story, images: DemoImages) -> None:
    """Raw images in."""
    with story.stage("Upload") as said:
        raw = story.platform.upload(images.uploaded, name="demo", skip_invalid=True)
        story.results["raw"] = raw["id"]
        said.append(f"{len(images.uploaded)} images sent")


def preprocess(story: Story) -> None:
    """Raw set -> preprocessed set and analysis report."""
    with story.stage("Preprocess (recipe: rigorous)") as said:
        job = story.run_job("square, 256 px, CLAHE, duplicates", story.platform.preprocess(story.results["raw"]))
        story.results["real"] = artifact_of(job, "image_set")
        report = story.platform.report(artifact_of(job, "report"))["report"]
        said.append(
            f"{report['n_kept']} of {report['n_images']} images kept, {report['n_dropped']} duplicates or misfits"
        )


def affordable_epochs(story: Story) -> int:
    """How many epochs this machine trains in `TRAINING_S` seconds, from a trial of two."""
    with story.stage("Measure how fast this machine trains") as said:
        job = story.platform.train_diffusion(
            story.results["real"], "glioma", preset="tiny", epochs=TRIAL_EPOCHS, name="speed trial"
        )
        trial = artifact_of(story.run_job("two epochs", job), "model")
        images_per_s = float(story.platform.model(trial)["card"]["images_per_s"])
        n_gliomas = sum(
            1 for _ in story.platform.images(story.results["real"], **{"class": "glioma", "split": "Training"})
        )
        epochs = int(min(MOST_EPOCHS, max(FEWEST_EPOCHS, TRAINING_S * images_per_s / n_gliomas)))
        said.append(f"{images_per_s:.0f} images/s, so {epochs} epochs")
    return epochs


def train_diffusion(story: Story, epochs: int | None) -> None:
    """Preprocessed set -> diffusion model of glioma."""
    epochs = epochs or affordable_epochs(story)
    with story.stage("Train a tiny DDPM on glioma") as said:
        job = story.platform.train_diffusion(story.results["real"], "glioma", preset="tiny", epochs=epochs, seed=SEED)
        story.results["diffusion"] = artifact_of(story.run_job("denoise, 64 px", job), "model")
        card = story.platform.model(story.results["diffusion"])["card"]
        story.results["losses"] = losses = card["curves"]["loss"]
        said.append(f"{len(losses)} epochs, loss {losses[0]:.3f} to {losses[-1]:.3f}")


def generate(story: Story) -> None:
    """POST /generate?class=glioma&n=64."""
    with story.stage(f"Generate n={N_SYNTHETIC} gliomas") as said:
        job = story.platform.generate("glioma", N_SYNTHETIC, model=story.results["diffusion"], seed=SEED)
        story.results["synthetic"] = artifact_of(story.run_job("denoise", job), "image_set")
        hashes = {image["sha256"] for image in story.platform.images(story.results["synthetic"])}
        said.append(f"{N_SYNTHETIC} images, {len(hashes)} distinct")


def train_classifier(story: Story) -> None:
    """Real Training images -> classifier, tested on real Testing images."""
    with story.stage("Train the compact VGG-19 on real images") as said:
        job = story.platform.train_classifier(
            story.results["real"], preset="vgg19-compact", epochs=CLASSIFIER_EPOCHS, seed=33
        )
        story.results["classifier"] = artifact_of(story.run_job("four classes, 64 px", job), "model")
        accuracy = story.platform.model(story.results["classifier"])["accuracy"]
        said.append(f"accuracy {accuracy:.2f} on real test images")


def evaluate(story: Story) -> None:
    """Synthetic set against real Training images, in Inception's features if they are installed."""
    with story.stage("Evaluate the synthetic images") as said:
        installed = [item["name"] for item in story.platform.weights()["items"] if item.get("installed")]
        choice = {"features": "inception"} if "inception" in installed else {
            "features": "classifier", "model": story.results["classifier"]
        }  # fmt: skip
        metrics = ["fid", "kid"]
        job = story.platform.evaluate(story.results["synthetic"], story.results["real"], metrics, **choice)
        report = story.platform.report(artifact_of(story.run_job("features and distances", job), "report"))
        story.results["evaluation"] = report["report"]
        scores = ", ".join(f"{name.upper()} {value:.3g}" for name, value in report["scores"].items())
        said.append(f"{scores} in the features of {choice['features']}")


def classify(story: Story, images: DemoImages) -> None:
    """Images that no step has seen."""
    with story.stage("Classify held-out MRIs") as said:
        answers = [
            (tumour_class, story.platform.classify(path, model=story.results["classifier"]))
            for tumour_class, path in images.held_out
        ]
        story.results["classified"] = [
            {"truth": str(truth), "answer": answer["class"], "probability": max(answer["probabilities"].values())}
            for truth, answer in answers
        ]
        n_right = sum(truth == answer["class"] for truth, answer in answers)
        said.append(f"{n_right} of {len(answers)} right")


def run_scenario(story: Story) -> None:
    """Does it help? Real only, against real and synthetic glioma, on the same real test images."""
    with story.stage("Scenario: real only against real + synthetic") as said:
        counts = {name: {"real": "all"} for name in ("glioma", "meningioma", "notumor", "pituitary")}
        mixed = {**counts, "glioma": {"real": "all", "synthetic": N_SYNTHETIC}}
        job = story.platform.run_scenario(
            story.results["real"],
            [story.results["synthetic"]],
            compositions={"real only": counts, f"real + {N_SYNTHETIC} synthetic glioma": mixed},
            seeds=SCENARIO_SEEDS,
            epochs=SCENARIO_EPOCHS,
            preset="vgg19-compact",
        )
        done = story.run_job("two compositions, two seeds", job)
        report = story.platform.report(artifact_of(done, "report"))
        story.results["scenario"] = report["report"]
        said.append("; ".join(f"{name}: accuracy {value:.3f}" for name, value in report["accuracy"].items()))


def artifact_of(job: Json, noun: str) -> str:
    """The id of the artifact of this noun that a job made."""
    return next(str(artifact["id"]) for artifact in job["artifacts"] if artifact["noun"] == noun)


if __name__ == "__main__":
    sys.exit(main())
