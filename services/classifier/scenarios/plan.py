"""What a composition means for training: which images in which phase, for how many updates."""

import dataclasses

from services.classifier.presets import TrainingConfig
from services.classifier.scenarios.composition import (
    Composition,
    FineTuning,
    Pool,
    Selection,
    select,
    select_fine_tuning,
)


@dataclasses.dataclass(frozen=True)
class PlannedPhase:
    """One training of a run."""

    selection: Selection
    config: TrainingConfig

    @property
    def n_updates(self) -> int:
        """Optimizer updates of this phase."""
        return self.config.n_updates(len(self.selection))


def plan_phases(
    composition: Composition, real: Pool, synthetic: Pool, training: TrainingConfig, seed: int
) -> list[PlannedPhase]:
    """One phase, or two where the composition is fine-tuned.

    Raises:
        NotEnoughImages: a set has fewer images of a class than asked.
    """
    phases = [PlannedPhase(select(composition, real, synthetic), training)]
    tuning = composition.fine_tuning
    if tuning is not None:
        selection = select_fine_tuning(composition, tuning, real, synthetic, seed)
        phases.append(PlannedPhase(selection, _tuning_config(training, tuning)))
    return phases


def _tuning_config(training: TrainingConfig, tuning: FineTuning) -> TrainingConfig:
    epochs = max(1, round(training.epochs * tuning.epochs_share))
    updates = None if training.updates is None else max(1, round(training.updates * tuning.epochs_share))
    return dataclasses.replace(training, epochs=epochs, updates=updates)
