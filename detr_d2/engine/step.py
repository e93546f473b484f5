"""One optimizer step: micro-batches, mixed precision, a guard against broken losses, clipping."""

import contextlib
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
    ) -> None:
        super().__init__(model, data_loader, optimizer)
        if accumulate < 1:
            raise ValueError(f"SOLVER.ACCUMULATE {accumulate}, must be an integer from 1")
        self.accumulate = accumulate
        self.clip = clip
        self.precision = precision
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
        if self.clip is not None:
            self.grad_scaler.unscale_(self.optimizer)
            groups = self.optimizer.param_groups
            norm = self.clip([p for group in groups for p in group["params"]])
            if norm is not None:
                get_event_storage().put_scalar("grad_norm", float(norm))
        self.grad_scaler.step(self.optimizer)
        self.grad_scaler.update()

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs: iteration, optimizer, loss scale."""
        return {**super().state_dict(), "grad_scaler": self.grad_scaler.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the state of another run."""
        super().load_state_dict(state_dict)
        if state_dict.get("grad_scaler"):
            self.grad_scaler.load_state_dict(state_dict["grad_scaler"])


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
