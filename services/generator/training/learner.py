"""The learner: a network, its optimiser and the moving average of its weights; what one update changes."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn

from services.generator.models.checkpoints import CheckpointDamaged
from services.generator.models.network import build_network, place_network, training_dtype
from services.generator.models.preset import Preset
from services.generator.training.averaging import MovingAverage
from services.generator.training.batches import Batch
from services.generator.training.objective import Objective
from services.generator.training.resume import ResumeState
from services.generator.training.trained_model import AVERAGE, RAW

_THEN: Final = ", then "


class Learner:
    """Makes updates as a preset says.

    Args:
        preset: network, objective and optimiser.
        seed: decides the initial weights, unless there is a `start`.
        device: where everything is.
        start: weights to begin with, the average of them too; see `train_model`.
        compiled: whether updates on full batches run the network through torch.compile: the same but for rounding, and
            the first takes a minute or more. Smaller batches and measurements, of other shapes, run it as it is.
    """

    def __init__(
        self,
        preset: Preset,
        seed: int,
        device: torch.device,
        *,
        start: Mapping[str, Tensor] | None = None,
        compiled: bool = False,
    ) -> None:
        self._preset, self._device = preset, device
        self.precision = str(training_dtype(device, preset.precision)).removeprefix("torch.")
        self.objective = Objective(preset, device)
        self.network = place_network(_begin(preset, seed, start), device).train()
        self._compiled = torch.compile(self.network, dynamic=False) if compiled else None
        self._optimizer = torch.optim.Adam(self.network.parameters(), lr=preset.learning_rate, fused=True)
        self._scaler = self._build_scaler()
        self._average = MovingAverage(self.network, preset.ema_decay) if preset.ema_decay is not None else None

    @property
    def dtype(self) -> torch.dtype:
        """The arithmetic of the network now: the last of `precision`, which names all it has had in turn."""
        dtype: torch.dtype = getattr(torch, self.precision.rsplit(_THEN, 1)[-1])
        return dtype

    def update(self, batch: Batch, step: int, n_steps: int) -> Tensor:
        """Make update `step` of `n_steps`, Algorithm 1 of Ho et al. 2020 (arXiv:2006.11239), on one batch.

        Returns:
            (2,) float32 on the device: the mean squared error, plain and weighted by timestep, before the update.
        """
        x_t = self.objective.add_noise(batch.x_0, batch.eps, batch.t)
        with torch.autocast(self._device.type, self.dtype, enabled=self.dtype != torch.float32):
            predicted = self._network_for(len(x_t))(x_t, batch.t, batch.classes)
        plain, weighted = self.objective.measure(predicted, batch.x_0, batch.eps, batch.t)
        for group in self._optimizer.param_groups:
            group["lr"] = self._preset.learning_rate_at(step, n_steps)
        self._optimizer.zero_grad()
        self._scaler.scale(weighted).backward()  # type: ignore[no-untyped-call]  # torch has no annotation here.
        if self._preset.gradient_clip is not None:
            self._scaler.unscale_(self._optimizer)
            nn.utils.clip_grad_norm_(self.network.parameters(), self._preset.gradient_clip)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        if self._average is not None:
            self._average.update(step + 1)
        return torch.stack([plain.detach(), weighted.detach()])

    def weights(self) -> dict[str, dict[str, Tensor]]:
        """The weights as they are, `raw` and, where the preset keeps one, `average`; the tensors go on changing."""
        raw = {name: parameter.detach() for name, parameter in self.network.state_dict().items()}
        return {RAW: raw} if self._average is None else {RAW: raw, AVERAGE: self._average.state()}

    def optimizer_state(self) -> list[dict[str, Tensor]]:
        """State of Adam, one dict of tensors per parameter."""
        moments = self._optimizer.state_dict()["state"]
        return [moments[number] for number in sorted(moments)]

    def scaler_state(self) -> dict[str, Any]:
        """State of the scaling of a float16 loss; empty where there is none."""
        return self._scaler.state_dict()

    def restore(self, state: ResumeState) -> None:
        """Become the learner that `state` was taken from, with its arithmetic, whatever is usual on this device.

        Only float16 cannot be gone on with where there is no GPU; `precision` then says that float32 followed it.
        """
        self.precision = state.precision
        if self.dtype == torch.float16 and self._device.type != "cuda":
            self.precision += f"{_THEN}float32"
        self._scaler = self._build_scaler()
        self.network.load_state_dict(state.weights[RAW])
        if self._average is not None:
            self._average.load(state.weights[AVERAGE])
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": self._lay_out(state.optimizer), "param_groups": groups})
        if state.scaler:
            self._scaler.load_state_dict(state.scaler)

    def _network_for(self, n_images: int) -> Callable[..., Tensor]:
        return self._compiled if self._compiled is not None and n_images == self._preset.batch_size else self.network

    def _build_scaler(self) -> torch.amp.GradScaler:
        return torch.amp.GradScaler(self._device.type, enabled=self.dtype == torch.float16)

    def _lay_out(self, moments: list[dict[str, Tensor]]) -> dict[int, dict[str, Tensor]]:
        """Adam's moments in the memory layout of their parameters, as the fused kernel needs; none before an update."""
        return {
            number: {name: torch.empty_like(p).copy_(t) if t.shape == p.shape else t for name, t in named.items()}
            for number, (p, named) in enumerate(zip(self.network.parameters(), moments, strict=False))
        }


def _begin(preset: Preset, seed: int, start: Mapping[str, Tensor] | None) -> nn.Module:
    network = build_network(preset.unet, seed)
    if start is not None:
        try:
            network.load_state_dict(start)
        except RuntimeError as error:
            raise CheckpointDamaged("The weights to begin with do not fit the network of this training.") from error
    return network
