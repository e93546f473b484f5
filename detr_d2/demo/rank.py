"""Order images by how unsure the model is of them, to correct first what teaches it most."""

import csv
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torchvision.ops import batched_nms

from detr_d2.data.image_io import place_image
from detr_d2.demo.outputs import Output, Pictures
from detr_d2.engine.predictor import panoptic_map
from detr_d2.utils.files import Journal, replacing
from detr_d2.utils.partial_folder import replacing_folder
from detr_d2.visualization.video import Source

# Objects below the threshold that are surer than this may have been missed.
LOWEST_SCORE = 0.1
CSV, LIST, PICTURES, JOURNAL = "rank.csv", "rank.txt", "pictures", "rank.jsonl"
# A path keeps its bytes, UTF-8 or not, so that programs find the file.
PATHS: dict[str, Any] = {"encoding": "utf-8", "errors": "surrogateescape"}
FIELDS = ("rank", "mistakes", "segments", "lowest_score", "missed", "unlabelled", "image")


@dataclass(frozen=True)
class Doubt:
    """How unsure the model is of an image.

    Attributes:
        segments: how many it has found.
        wrong: expected number of wrong ones: the sum of 1 - score.
        missed: expected number of missed objects: the sum of the scores of those below the
            threshold.
        unlabelled: share of pixels without a segment.
        lowest_score: of the segments; 1 without any.
    """

    segments: int
    wrong: float
    missed: float
    unlabelled: float
    lowest_score: float

    @property
    def mistakes(self) -> float:
        """The expected number of corrections, by which images are ordered."""
        return self.wrong + self.missed + self.unlabelled


def doubt_of(output: dict[str, Any], threshold: float, duplicate_iou: float = 1.0) -> Doubt:
    """Measure an output.

    Args:
        output: with `panoptic_seg`; `instances`, if there, tell what was nearly found.
        threshold: score above which a query becomes a segment.
        duplicate_iou: MODEL.DETR.DUPLICATE_IOU; an object that was found is not nearly found, too.

    Raises:
        ValueError: a model without masks.
    """
    id_map, segments = panoptic_map(output)
    scores = [float(segment["score"]) for segment in segments]
    missed = 0.0
    if "instances" in output:
        found = output["instances"]
        if duplicate_iou < 1.0:
            boxes = found.pred_boxes.tensor
            found = found[batched_nms(boxes, found.scores, found.pred_classes, duplicate_iou)]
        unsure = (found.scores > LOWEST_SCORE) & (found.scores <= threshold)
        missed = float(found.scores[unsure].sum())
    return Doubt(
        segments=len(scores),
        wrong=sum(1 - score for score in scores),
        missed=missed,
        unlabelled=float((id_map == 0).mean()),
        lowest_score=min(scores, default=1.0),
    )


class Rank(Output):
    """Lists of the images, those first that the model is least sure of.

    `rank.csv` has the figures, `rank.txt` the paths, and `pictures/` the pictures in that order.

    Args:
        folder: where they go; made if needed.
        threshold, duplicate_iou: as `doubt_of` has them.
        pictures: the output that renders them, None without.
        resume: keep what an earlier run has measured.

    Raises:
        ValueError: the folder has files of these names that are no ranking's.
    """

    def __init__(
        self,
        folder: str,
        threshold: float,
        pictures: Pictures | None,
        resume: bool,
        duplicate_iou: float = 1.0,
    ) -> None:
        self.folder, self.threshold, self.pictures = Path(folder), threshold, pictures
        self.duplicate_iou = duplicate_iou
        self._reject_foreign()
        self.folder.mkdir(parents=True, exist_ok=True)
        if not resume:
            (self.folder / JOURNAL).unlink(missing_ok=True)
        self.journal = Journal(self.folder / JOURNAL, "stem")

    def _reject_foreign(self) -> None:
        paths = [self.folder / name for name in (CSV, LIST, PICTURES)]
        found = next((path for path in paths if path.exists()), None)
        if found is not None and not (self.folder / JOURNAL).is_file():
            raise ValueError(
                f"{found} is there and no --rank has written it (there is no {JOURNAL}); choose "
                "another folder"
            )

    def has(self, source: Source) -> bool:
        """Whether the image was measured."""
        return source.stem in self.journal

    def add(self, source: Source, image: np.ndarray, output: dict[str, Any]) -> None:
        """Measure it."""
        doubt = doubt_of(output, self.threshold, self.duplicate_iou)
        figures = {**vars(doubt), "mistakes": doubt.mistakes}
        self.journal.write({"stem": source.stem, "image": os.fspath(source.path), **figures})

    def finish(self) -> None:
        """Write the lists, and put the pictures in order."""
        rows = [self.journal.read(stem) for stem in self.journal]
        # Equal ones by name, so that the order is the same in every run.
        rows.sort(key=lambda row: (-row["mistakes"], row["stem"]))
        with replacing(self.folder / CSV) as path, open(path, "w", newline="", **PATHS) as file:
            writer = csv.DictWriter(file, FIELDS, extrasaction="ignore")
            writer.writeheader()
            for number, row in enumerate(rows, start=1):
                figures = {k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}
                writer.writerow({"rank": number, **figures})
        with replacing(self.folder / LIST) as path, open(path, "w", **PATHS) as file:
            file.writelines(f"{row['image']}\n" for row in rows)
        if self.pictures is not None:
            self._order_pictures([row["stem"] for row in rows], self.pictures)

    def _order_pictures(self, stems: list[str], pictures: Pictures) -> None:
        with replacing_folder(self.folder / PICTURES) as folder:
            for number, stem in enumerate(stems, start=1):
                target = pictures.targets.get(stem)
                if target is not None and target.is_file():
                    name = f"{number:04d}_{stem.replace('/', '__')}{target.suffix}"
                    place_image(target, folder / name)
