"""Training data whose order and augmentation follow from the seed alone."""

import hashlib
import itertools
import logging
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetFromList, build_detection_train_loader
from detectron2.utils import comm
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from detr_d2.engine.randomness import derive_seed, seeded
from detr_d2.engine.training_records import objects_of

logger = logging.getLogger(__name__)

Record = dict[str, Any]
# Of a data set, and number in the whole training: what an image is and how it is augmented.
Place = tuple[int, int]
# How long a data worker that is asked to end goes on, so that the step can be finished.
SECONDS_TO_FINISH = 60
# A record without sizes: read from the head of the file.
EXIF_ORIENTATION, TURNED = 0x0112, (5, 6, 7, 8)


class TrainLoader:
    """Endless micro-batches of this process.

    Image number n of a training, and its augmentation, are the same for any number of processes
    and data workers. All processes go through one order and share out each micro-batch, so that
    the place in it is one number, which a checkpoint keeps.

    Args:
        records: what the mapper takes.
        mapper: makes the model's input; may use Python's, NumPy's and torch's generators.
        indices: endless indices of records for a seed.
        batch_size: images of a micro-batch, of all processes together.
        num_workers: data workers of this process; 0 loads in the process itself.
        group_by_aspect: put wide and tall images into batches of their own.
        seed: from 0.
    """

    def __init__(
        self,
        records: Sequence[Record],
        mapper: Callable[[Record], Record],
        indices: Callable[[int], Iterator[int]],
        *,
        batch_size: int,
        num_workers: int = 0,
        group_by_aspect: bool = False,
        seed: int = 0,
    ) -> None:
        self.indices = indices
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.seed = seed
        # Micro-batches handed out so far.
        self.position = 0
        self._mapper = mapper
        self._records = DatasetFromList(list(records), copy=False)
        self._tall = np.array([group_by_aspect and _is_tall(record) for record in records])
        self._identity = _identity(records)

    def __iter__(self) -> Iterator[list[Record]]:
        loader = DataLoader(
            _SeededImages(self._records, self._mapper, self.seed),
            batch_sampler=itertools.islice(self._batches(), self.position, None),
            num_workers=self.num_workers,
            collate_fn=list,
            worker_init_fn=_finish_the_step,
            # Its own: it would take a number of the model's otherwise.
            generator=torch.Generator(),
        )
        for batch in loader:
            self.position += 1
            yield batch

    def _batches(self) -> Iterator[list[Place]]:
        """This process's part of each micro-batch."""
        waiting: tuple[list[Place], list[Place]] = ([], [])
        for number, index in enumerate(self.indices(self.seed)):
            group = waiting[int(self._tall[index])]
            group.append((index, number))
            if len(group) == self.batch_size:
                yield group[comm.get_rank() :: comm.get_world_size()]
                group.clear()

    def state_dict(self) -> dict[str, Any]:
        """The place in the order, and what the order was made of."""
        return {
            "seed": self.seed,
            "position": self.position,
            "batch_size": self.batch_size,
            "images": len(self._records),
            "identity": self._identity,
            "processes": comm.get_world_size(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from the place of a checkpoint; what has changed since is logged."""
        if state["identity"] != self._identity:
            logger.warning(
                "The training images have changed since the checkpoint (%d then, %d now): they "
                "are gone through from the beginning",
                state["images"],
                len(self._records),
            )
            return
        if state["seed"] != self.seed:
            logger.warning(
                "SEED is %d, but the checkpoint's data order has %d, which it keeps",
                self.seed,
                state["seed"],
            )
        if state["processes"] != comm.get_world_size():
            logger.warning(
                "%d processes now, %d when the checkpoint was written: the images come in the "
                "same order, the weights will differ by rounding",
                comm.get_world_size(),
                state["processes"],
            )
        if state["batch_size"] != self.batch_size:
            logger.warning(
                "%d images a micro-batch now, %d when the checkpoint was written: the order goes "
                "on at about the same image",
                self.batch_size,
                state["batch_size"],
            )
        self.seed = state["seed"]
        self.position = state["position"] * state["batch_size"] // self.batch_size


class _SeededImages(Dataset[Record]):
    """Maps records; each image has random numbers of its own."""

    def __init__(
        self, records: Dataset[Record], mapper: Callable[[Record], Record], seed: int
    ) -> None:
        self.records = records
        self.mapper = mapper
        self.seed = seed

    def __getitem__(self, place: Place) -> Record:
        index, number = place
        record = self.records[index]
        try:
            with seeded(derive_seed(self.seed, number)):
                return self.mapper(record)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            names = [record.get("file_name"), record.get("pan_seg_file_name")]
            files = " or ".join(str(name) for name in names if name)
            raise ValueError(f"training image {files}: {error}") from error


def build_train_loader(
    cfg: CfgNode, records: list[Record], mapper: Callable[[Record], Record]
) -> TrainLoader:
    """By SOLVER.IMS_PER_BATCH, SOLVER.ACCUMULATE, DATALOADER and SEED.

    Raises:
        ValueError: the batch cannot be shared out equally.
    """
    batch, parts = cfg.SOLVER.IMS_PER_BATCH, cfg.SOLVER.ACCUMULATE * comm.get_world_size()
    if batch < 1 or batch % parts:
        raise ValueError(
            f"SOLVER.IMS_PER_BATCH {batch} must be a multiple of SOLVER.ACCUMULATE x number "
            f"of processes = {parts}"
        )

    # What Detectron2's RepeatFactorTrainingSampler counts classes in.
    counted = [{"annotations": objects_of(record)} for record in records]

    def indices(seed: int) -> Iterator[int]:
        # Detectron2's samplers take their seeds from NumPy's generator, or from SEED.
        own = cfg.clone()
        own.defrost()
        own.SEED = seed
        with seeded(seed):
            chosen = build_detection_train_loader.from_config(own, mapper=mapper, dataset=counted)
        # The order of all processes; a sampler itself gives the part of one.
        return chosen["sampler"]._infinite_indices()

    return TrainLoader(
        records,
        mapper,
        indices,
        batch_size=batch // cfg.SOLVER.ACCUMULATE,
        num_workers=cfg.DATALOADER.NUM_WORKERS,
        group_by_aspect=cfg.DATALOADER.ASPECT_RATIO_GROUPING,
        seed=max(cfg.SEED, 0),
    )


def _finish_the_step(worker: int) -> None:
    """A signal to all processes of a job must not take the data of its last step away."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(SECONDS_TO_FINISH))


def _is_tall(record: Record) -> bool:
    if "width" in record and "height" in record:
        return bool(record["height"] >= record["width"])
    with Image.open(record["file_name"]) as image:
        turned = image.getexif().get(EXIF_ORIENTATION) in TURNED
        width, height = image.size[::-1] if turned else image.size
    return height >= width


def _identity(records: Sequence[Record]) -> str:
    """A fingerprint of the images and their order, wherever their folder lies."""
    digest = hashlib.blake2b(digest_size=16)
    for record in records:
        name = os.path.basename(str(record.get("file_name")))
        digest.update(f"{record.get('image_id')}\0{name}\0".encode())
    return digest.hexdigest()
