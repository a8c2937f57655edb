"""The tables of one report: all images together, then each class, each with the study's figures where asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from services.evaluator.metrics import study_figures
from services.evaluator.metrics.assessment import Metric
from services.evaluator.metrics.floors import FloorPlan, small_floor_cautions
from services.evaluator.metrics.scopes import (
    Sides,
    class_selections,
    measure_scope,
    metrics_of_class,
    mix_cautions,
    take_floor,
)
from services.evaluator.metrics.selection import Caution, Selection, SplitChoice
from services.evaluator.metrics.standardisation import NoFeatureVaries, left_out_cautions, standardise_sides
from shared.progress import Progress


@dataclass(frozen=True)
class StudyPart:
    """What a report in study mode needs beyond the rest.

    Attributes:
        network: whose probabilities the first Inception Score is of, in words.
        sides: features in the study's own network; None where its weights are not installed.
        command: what installs them.
    """

    network: str
    sides: Sides | None
    command: str


@dataclass(frozen=True)
class Scoring:
    """How every table of one report is made.

    Attributes:
        split: the reference's split, as it was asked for.
        seen: whether the features come from a network that was trained on the real images.
        metrics: which scores; None for all that the numbers of images allow.
        feature_space: "inception", "classifier" or "radiomics".
        seed: of every random draw.
        progress: asked whether to go on.
        standardised: names of the features, where they are put on the scale of each table's real images first; empty
            where they are compared as they are.
    """

    split: SplitChoice
    seen: bool
    metrics: list[Metric] | None
    feature_space: str
    seed: int
    progress: Progress
    standardised: Sequence[str] = ()

    def measure_all(
        self, selection: Selection, sides: Sides, study: StudyPart | None
    ) -> tuple[dict[str, Any], list[FloorPlan | None], list[Caution]]:
        """The table over all images with `by_class` in it, the plans of all floors, and what to be careful about.

        The plan of the table over all images is the first.

        Args:
            selection: the images.
            sides: their features.
            study: with the features of the study's network; None in rigorous mode.
        """
        classes, left_out = class_selections(selection)
        table, plan = self._measure(selection, sides, self.metrics)
        cautions = [*mix_cautions(selection), *left_out] if classes or left_out else []
        plans = [plan]
        table["by_class"] = []
        for cut in classes:
            name = str(cut.tumour_class)
            metrics = metrics_of_class(self.metrics, cut, self.feature_space)
            try:
                of_class, class_plan = self._measure(cut, sides.of_class(selection, name), metrics)
            except NoFeatureVaries:
                sentence = (
                    f"The {len(cut.real)} real images of {name} are alike in every feature: no scores of its own."
                )
                cautions.append(Caution("class_left_out", sentence))
                continue
            if study is not None:
                cut_study = StudyPart(
                    study.network, study.sides and study.sides.of_class(selection, name), study.command
                )
                of_class["study"] = self._measure_study(sides.of_class(selection, name), cut_study, class_plan)
            plans.append(class_plan)
            table["by_class"].append(of_class)
        if study is not None and table["by_class"]:
            # The study has figures of single classes and their means, none of all classes pooled.
            table["study"] = study_figures.mean_over_classes([entry["study"] for entry in table["by_class"]])
        elif study is not None:
            table["study"] = self._measure_study(sides, study, plan)
        shown = {entry["class"] or "all images": entry for entry in [table, *table["by_class"]]}
        floors = {
            name: (of, entry["n_synthetic"], entry["n_real"])
            for (name, entry), of in zip(shown.items(), plans, strict=True)
        }
        left = {name: entry.get("features_left_out", []) for name, entry in shown.items()}
        return table, plans, [*cautions, *small_floor_cautions(floors), *left_out_cautions(left)]

    def _measure(
        self, selection: Selection, sides: Sides, metrics: list[Metric] | None
    ) -> tuple[dict[str, Any], FloorPlan | None]:
        left_out = None
        if self.standardised:
            sides, left_out = standardise_sides(sides, self.standardised)
        table, plan = measure_scope(
            selection,
            sides,
            split=self.split,
            seen=self.seen,
            metrics=metrics,
            feature_space=self.feature_space,
            seed=self.seed,
            progress=self.progress,
        )
        return (table if left_out is None else {**table, "features_left_out": left_out}), plan

    def _measure_study(self, sides: Sides, study: StudyPart, plan: FloorPlan | None) -> dict[str, Any]:
        """The study's figures of one table, marked not comparable."""
        options: dict[str, Any] = {"seed": self.seed, "progress": self.progress}
        entries = [study_figures.study_scores(sides.synthetic, sides.real, study.network, **options)]
        if study.sides is None:
            entries.append(study_figures.missing_study_distance(study.command, sides.synthetic, sides.real))
        else:
            pair = study.sides.synthetic, study.sides.real
            entries.append(study_figures.study_scores(*pair, study_figures.KERAS_NETWORK, **options))
            entries.append(study_figures.study_distance(*pair, take_floor(plan, study.sides), **options))
        return {"mark": study_figures.NOT_COMPARABLE, "entries": entries}
