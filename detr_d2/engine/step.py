"""One optimizer step: micro-batches, mixed precision, guards against broken numbers, clipping."""

import contextlib
import logging
import math
import time
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from detectron2.engine import SimpleTrainer
from detectron2.utils.events import get_event_storage
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from detr_d2.engine.solver import Clipper

logger = logging.getLogger(__name__)


def choose_precision(enabled: bool, device: torch.device) -> torch.dtype | None:
    """Number format for mixed precision on this device; None = everything in float32.

    bfloat16 wherever the device has it, since it needs no loss scaling; float16 on older GPUs.
    """
    if not enabled:
        return None
    if device.type == "cuda" and not torch.cuda.is_bf16_supported():
        return torch.float16
    return torch.bfloat16


class AccumulatingTrainer(SimpleTrainer):
    """Detectron2's `SimpleTrainer` whose step is cut into micro-batches.

    The gradient of a step is the mean over its micro-batches. That equals the gradient of one large
    batch for losses that are means over the images; DETR's losses divide by the number of objects
    of a micro-batch, so that there each micro-batch counts the same, not each object.

    Args:
        model: gives a dict of losses for a batch; may be wrapped for several processes.
        data_loader: yields micro-batches.
        optimizer: steps once after `accumulate` micro-batches.
        accumulate: micro-batches per step, from 1.
        clip: clips the gradients before the step, or None.
        precision: number format for mixed precision, or None.
        max_skipped: steps in a row that may be skipped for a gradient that is not finite.
    """

    def __init__(
        self,
        model: nn.Module,
        data_loader: Iterable[list[dict[str, Any]]],
        optimizer: torch.optim.Optimizer,
        *,
        accumulate: int = 1,
        clip: Clipper | None = None,
        precision: torch.dtype | None = None,
        max_skipped: int = 20,
    ) -> None:
        super().__init__(model, data_loader, optimizer)
        if accumulate < 1:
            raise ValueError(f"SOLVER.ACCUMULATE {accumulate}, must be an integer from 1")
        self._data_loader_iter_obj: Any = None
        self.accumulate = accumulate
        self.clip = clip
        self.precision = precision
        self.max_skipped = max_skipped
        # Steps without an update: in all, and in a row up to now.
        self.skipped = self.skipped_in_a_row = 0
        self.device = next(model.parameters()).device
        self.grad_scaler = torch.amp.GradScaler(
            self.device.type, enabled=precision is torch.float16
        )

    def run_step(self) -> None:
        """Run the micro-batches, then step. After an error the weights are as they were."""
        if not self.model.training:
            raise RuntimeError("the model is in evaluation mode; a hook must have left it there")
        data_time = 0.0
        means: dict[str, float] = {}
        self.optimizer.zero_grad()
        for number in range(self.accumulate):
            start = time.perf_counter()
            batch = next(self._data_loader_iter)
            data_time += time.perf_counter() - start
            with self._gradient_sync(number == self.accumulate - 1):
                losses = self._forward_backward(batch)
            check_finite(losses, batch, self.iter)
            for name, value in losses.items():
                means[name] = means.get(name, 0.0) + value / self.accumulate
        self.after_backward()
        self._write_metrics({name: torch.tensor(v) for name, v in means.items()}, data_time)
        self._update_weights()

    def close(self) -> None:
        """End the data workers; the next step would start them again."""
        iterator: Any = self._data_loader_iter_obj
        self._data_loader_iter_obj = None
        if hasattr(iterator, "close"):
            iterator.close()

    def _gradient_sync(self, last: bool) -> contextlib.AbstractContextManager[None]:
        """Processes exchange gradients once a step: in the backward pass of the last batch."""
        if last or not isinstance(self.model, DistributedDataParallel):
            return contextlib.nullcontext()
        return self.model.no_sync()

    def _forward_backward(self, batch: list[dict[str, Any]]) -> dict[str, float]:
        enabled = self.precision is not None
        with torch.autocast(self.device.type, dtype=self.precision, enabled=enabled):
            losses: dict[str, Tensor] = self.model(batch)
        values = torch.stack([loss.detach().float() for loss in losses.values()])
        total = torch.stack([loss.float() for loss in losses.values()]).sum()
        self.grad_scaler.scale(total / self.accumulate).backward()
        # Read the values after the backward pass: on a GPU one wait a batch instead of one a loss.
        return dict(zip(losses, values.tolist(), strict=True))

    def _update_weights(self) -> None:
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.grad_scaler.unscale_(self.optimizer)
        gradients = [p.grad for p in parameters if p.grad is not None]
        norm = float(nn.utils.get_total_norm(gradients)) if gradients else 0.0
        get_event_storage().put_scalar("grad_norm", norm)
        if math.isfinite(norm):
            self.skipped_in_a_row = 0
            if self.clip is not None:
                self.clip(parameters)
            self.grad_scaler.step(self.optimizer)
        else:
            self._skip(norm)
        self.grad_scaler.update()

    def _skip(self, norm: float) -> None:
        """Leave the weights, and stop the training when that has happened too often in a row.

        A loss scale for float16 that is still too high does this a few times at the start.
        """
        self.skipped += 1
        self.skipped_in_a_row += 1
        get_event_storage().put_scalar("skipped_steps", self.skipped, smoothing_hint=False)
        named = [n for n, p in self.model.named_parameters() if not _has_finite_gradient(p)]
        found = (
            f"iteration {self.iter}: the gradient is not finite (norm {norm}) in {len(named)} "
            f"parameters, such as {', '.join(named[:3])}"
        )
        if self.skipped_in_a_row > self.max_skipped:
            raise FloatingPointError(
                f"{found}, and so it was in the {self.max_skipped} steps before "
                "(SOLVER.MAX_SKIPPED_STEPS). The weights are those of the last good step; lower "
                "SOLVER.BASE_LR or set SOLVER.AMP.ENABLED False"
            )
        logger.warning("%s; the step is skipped, the %d. of this training", found, self.skipped)

    def state_dict(self) -> dict[str, Any]:
        """The iteration, the optimizer, the loss scale, and the number of skipped steps."""
        return {
            **super().state_dict(),
            "grad_scaler": self.grad_scaler.state_dict(),
            "skipped": (self.skipped, self.skipped_in_a_row),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the state of another run."""
        super().load_state_dict(state_dict)
        if state_dict.get("grad_scaler"):
            self.grad_scaler.load_state_dict(state_dict["grad_scaler"])
        self.skipped, self.skipped_in_a_row = state_dict.get("skipped", (0, 0))


def _has_finite_gradient(parameter: nn.Parameter) -> bool:
    return parameter.grad is None or bool(parameter.grad.isfinite().all())


def check_finite(losses: Mapping[str, float], batch: list[dict[str, Any]], iteration: int) -> None:
    """Stop at the first loss that is not a number.

    Raises:
        FloatingPointError: names the losses and the images of the batch.
    """
    broken = [f"{name} = {value}" for name, value in losses.items() if not math.isfinite(value)]
    if not broken:
        return
    images = [f"{image.get('image_id')} ({image.get('file_name')})" for image in batch]
    raise FloatingPointError(
        f"iteration {iteration}: {', '.join(broken)} on the images {', '.join(images)}. "
        "Look at these images with tools/visualize_data.py; if they are sound, lower "
        "SOLVER.BASE_LR or set SOLVER.AMP.ENABLED False"
    )
