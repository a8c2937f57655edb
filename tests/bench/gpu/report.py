"""What was found, against the bars, as a page and as data."""

from dataclasses import asdict, dataclass
from typing import Any, Final

from tests.bench.gpu.figures import DDPM_STEPS, FEW_STEPS, N_IMAGES, DrawingFigure, TrainingFigure
from tests.bench.gpu.runs import PRESETS, Results
from tests.bench.gpu.scale import PEAK_BAR

TRAINING_BAR: Final = 4.0
DRAWING_BARS: Final = ((DDPM_STEPS, 15.0), (FEW_STEPS, 500.0))
_EXPLAINED: Final = """\
The study's loop is written down in tests/bench/gpu/study_loop.py: batch 16, float16 autocast with a scaled loss,
attention written out, a DataLoader that decodes each image whenever it is needed; one image at a time in 1000 steps
under autocast. Its figures are the better of two measurements, before ours and after. Attention is MONAI's of today,
into which the study's package, monai-generative, was merged.

The platform's loop is Learner, Batches and sample_unit_images of services/generator. Its batch size, and the attention
kernel of `study`, are those of the best row below, which a request can ask for (`overrides`, `batch_size`); "compiled"
is the setting SYNTHMRI_COMPILE_NETWORKS. It draws in bfloat16 (`precision=bfloat16`). Neither loop encodes or saves its
images.

The share of the peak counts floating-point operations of the network alone, with attention as it is written out, over
those of a bfloat16 matrix product in this run."""
_TO_TRY: Final = """\
What can be tried where a bar is missed, in this order:

1. Rows marked "compiled" against those without. Under autocast PyTorch normalises groups in float32 and, on CUDA, in
   another memory layout than the convolutions want: each group normalisation costs copies, which torch.compile can
   fuse. `copy_`, `native_group_norm` and `silu` in the profile are this.
2. Kernels that take much less than an update, in the line above the profile: the GPU waits for the CPU. CUDA graphs
   (torch.compile(mode="reduce-overhead")) or a larger batch.
3. Convolutions at the top: torch.backends.cudnn.benchmark = True, which tries kernels for each shape.
4. `normal_` or copies from the host in the CPU's part: noise is drawn on the CPU so that an image is a function of its
   seed; drawing it on the GPU would give other images."""


@dataclass(frozen=True)
class Verdict:
    """A bar and what was measured against it; `met` is None where nothing could be measured."""

    what: str
    study: str
    platform: str
    figure: float | None
    bar: float
    met: bool | None

    @classmethod
    def of(cls, what: str, study: str, platform: str, figure: float | None, bar: float) -> "Verdict":
        """Met from the bar upwards."""
        return cls(what, study, platform, figure, bar, None if figure is None else figure >= bar)


def judge(results: Results) -> list[Verdict]:
    """Every bar, for each preset: the platform's best variant against the better of the study's measurements."""
    verdicts = []
    studys = [each for each in results.training if each.loop == "study"]
    study = max(studys, key=lambda each: each.images_per_s, default=None)
    study_text = f"{study.images_per_s:.1f} images/s" if study else "-"
    for name in PRESETS:
        ours = [each for each in results.training if each.loop == "platform" and each.preset == name]
        best = max(ours, key=lambda each: each.images_per_s, default=None)
        text = f"{best.images_per_s:.1f} images/s ({_describe(best)})" if best else "-"
        ratio = best.images_per_s / study.images_per_s if best and study else None
        verdicts.append(Verdict.of(f"training, `{name}`", study_text, text, ratio, TRAINING_BAR))
        share_text = f"{study.share_of_peak:.1%}" if study else "-"
        share = best.share_of_peak if best else None
        what, share_of_ours = f"share of the peak in training, `{name}`", f"{share:.1%}" if best else "-"
        verdicts.append(Verdict.of(what, share_text, share_of_ours, share, PEAK_BAR))
    return verdicts + [_judge_drawing(results, name, *bar) for bar in DRAWING_BARS for name in PRESETS]


def _judge_drawing(results: Results, name: str, steps: int, bar: float) -> Verdict:
    """600 images of ours in so many steps against the study's in 1000."""
    study = min((e for e in results.drawing if e.loop == "study"), key=lambda each: each.seconds, default=None)
    ours = [e for e in results.drawing if (e.loop, e.preset, e.steps) == ("platform", name, steps)]
    best = min(ours, key=lambda each: each.seconds, default=None)
    return Verdict.of(
        f"{N_IMAGES} images at {steps} steps, `{name}`",
        f"{study.seconds:.0f} s at {DDPM_STEPS} steps, {study.measured}" if study else "-",
        f"{best.seconds:.2f} s, {best.measured} ({best.sampler}, {_describe(best)})" if best else "-",
        study.seconds / best.seconds if study and best else None,
        bar,
    )


def _describe(figure: TrainingFigure | DrawingFigure) -> str:
    return f"{figure.variant}, batch {figure.batch}, {figure.precision}"


def write_data(results: Results, facts: dict[str, Any]) -> dict[str, Any]:
    """Everything measured, as JSON."""
    return {**facts, "bars": [asdict(verdict) for verdict in judge(results)], **asdict(results)}


def write_page(results: Results, facts: dict[str, Any]) -> str:
    """The same in Markdown, for people: the bars, all rows, and where the time goes if a share is low."""
    verdicts = judge(results)
    machine = ", ".join(f"{name} {value}" for name, value in facts["machine"].items() if name != "device")
    parts = [
        f"# The study's loop and the platform's on {facts['machine']['device']}",
        f"`{facts['command']}` on {facts['date']}, {facts['seconds']:.0f} s. {machine}.\n{facts['images']}",
    ]
    if facts["trial"]:
        parts.append("**A trial of the program with tiny networks: the figures mean nothing.**")
    parts += [_table(("what", "the study's loop", "the platform's", "figure", "bar", ""), map(_bar_row, verdicts))]
    flops = "; ".join(f"`{name}` {one / 1e9:.1f}, {both / 1e9:.1f}" for name, (one, both) in results.flops.items())
    parts += [
        _EXPLAINED,
        f"Peak: {results.peak / 1e12:.1f} TFLOP/s. GFLOP of an image, forward, and with backward: {flops}.",
        "## Training",
        _table(
            ("loop", "preset", "variant", "precision", "batch", "images/s", "share of peak", "GPU memory", "measured"),
            map(_training_row, results.training),
        ),
        f"## {N_IMAGES} images",
        _table(
            ("loop", "preset", "variant", "precision", "batch", "sampler", "seconds", "share of peak", "measured"),
            map(_drawing_row, results.drawing),
        ),
        *(f"- {line}" for line in results.notes),
        *(f"- Broke: {line}" for line in results.failures),
        *_profiles(results),
    ]
    return "\n\n".join([*parts, *([] if all(verdict.met for verdict in verdicts) else [_TO_TRY])]) + "\n"


def _profiles(results: Results) -> list[str]:
    """Where the time goes in the best training of each preset whose share of the peak is below the bar."""
    texts = []
    for name in PRESETS:
        ours = [each for each in results.training if each.loop == "platform" and each.preset == name]
        best = max(ours, key=lambda each: each.images_per_s, default=None)
        if best and best.profile:
            texts.append(
                f"## Where an update of `{name}` spends its time: {_describe(best)}\n\n```\n{best.profile}\n```"
            )
    return texts


def _bar_row(verdict: Verdict) -> tuple[str, ...]:
    said = {True: "met", False: "missed", None: "not measured"}[verdict.met]
    share = verdict.bar < 1
    figure = "-" if verdict.figure is None else f"{verdict.figure:.1%}" if share else f"{verdict.figure:.1f} x"
    bar = f"{verdict.bar:.0%}" if share else f"{verdict.bar:.0f} x"
    return verdict.what, verdict.study, verdict.platform, figure, bar, said


def _training_row(figure: TrainingFigure) -> tuple[str, ...]:
    memory = "-" if figure.memory_gib is None else f"{figure.memory_gib:.1f} GiB"
    speed = (f"{figure.images_per_s:.1f}", f"{figure.share_of_peak:.1%}", memory, figure.measured)
    return figure.loop, figure.preset, figure.variant, figure.precision, str(figure.batch), *speed


def _drawing_row(figure: DrawingFigure) -> tuple[str, ...]:
    how = (f"{figure.sampler}, {figure.steps}", f"{figure.seconds:.2f}", f"{figure.share_of_peak:.1%}", figure.measured)
    return figure.loop, figure.preset, figure.variant, figure.precision, str(figure.batch), *how


def _table(head: tuple[str, ...], rows: Any) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
