"""Mapillary Vistas 1.2 and 2.0 as they are on disk."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from detr_d2.conversion.classes import SourceClass
from detr_d2.conversion.formats.base import AnnotationFormat, Sample, Skipped, joined
from detr_d2.conversion.formats.coco_panoptic import CocoPanoptic
from detr_d2.conversion.image_annotation import ImageAnnotation
from detr_d2.data.image_io import (
    IMAGE_SUFFIXES,
    ImageInfo,
    UnreadableError,
    files_below,
    read_values,
)
from detr_d2.ops.panoptic_ids import compact
from detr_d2.utils.files import read_json

# A number of the instance PNGs is the label x 256 + the instance.
DIVISOR = 256


@dataclass
class MapillaryVistas(AnnotationFormat):
    """Mapillary Vistas: panoptic PNGs with their JSON or, where these are absent, instance PNGs.

    Only panoptic files know crowds. With instance PNGs, labels that the configuration does not
    evaluate are void.

    Args:
        folder: with `training` and `validation`, and the configuration of 1.2 or 2.0.
        part: `training` or `validation`.
        version: `v1.2` or `v2.0`; None = the only one that the part has.
    """

    name: ClassVar[str] = "mapillary"

    folder: str
    part: str = "training"
    version: str | None = None

    def find_samples(self) -> list[Sample]:
        """Read the classes and find images and masks."""
        root = os.path.join(self.folder, self.part)
        truth = self._ground_truth(root)
        panoptic = sorted(Path(truth, "panoptic").glob("panoptic_*.json"))
        self._panoptic: CocoPanoptic | None = None
        images = os.path.join(root, "images")
        if panoptic:
            self._panoptic = CocoPanoptic(
                str(panoptic[0]),
                images,
                os.path.join(truth, "panoptic"),
                exif=self.exif,
                resize=self.resize,
            )
            samples = list(self._panoptic.find_samples())
            self.classes, self.skipped = self._panoptic.classes, self._panoptic.skipped
            return samples
        self.classes = self._read_config(truth)
        samples = []
        for name in files_below(images, IMAGE_SUFFIXES):
            image = joined(images, name)
            mask = joined(os.path.join(truth, "instances"), os.path.splitext(name)[0] + ".png")
            if os.path.isfile(mask):
                samples.append(Sample(name, image, mask, (mask,)))
            else:
                self.skipped.append(Skipped(image, f"there is no {mask}"))
        return samples

    def _ground_truth(self, root: str) -> str:
        """The folder of the wanted version: below the part, or the part itself."""
        versions = [v for v in ("v1.2", "v2.0") if os.path.isdir(os.path.join(root, v))]
        if self.version is None and len(versions) > 1:
            raise ValueError(f"{root}: say which version (--version): {versions}")
        if self.version is not None and versions and self.version not in versions:
            raise ValueError(f"{root}: there is no version {self.version!r}, only {versions}")
        version = self.version or (versions[0] if versions else None)
        truth = os.path.join(root, version) if version and versions else root
        kinds = [k for k in ("panoptic", "instances") if os.path.isdir(os.path.join(truth, k))]
        if not kinds:
            raise FileNotFoundError(f"{truth}: has neither panoptic nor instances")
        return truth

    def _read_config(self, truth: str) -> list[SourceClass]:
        version = os.path.basename(truth)
        names = [f"config_{version}.json", "config.json", "config_v1.2.json", "config_v2.0.json"]
        paths = [Path(self.folder, name) for name in names]
        found = [path for path in paths if path.is_file()]
        if not found:
            raise FileNotFoundError(f"{paths[0]}: no such file, nor {names[1:]}")
        content = read_json(found[0])
        labels = content.get("labels") if isinstance(content, Mapping) else None
        if not isinstance(labels, list) or not all(_is_label(label) for label in labels):
            raise ValueError(f"{found[0]}: no list of labels with name, instances and evaluate")
        self._void = {i for i, label in enumerate(labels) if not label["evaluate"]}
        return [
            SourceClass(i, label["name"], bool(label["instances"]))
            for i, label in enumerate(labels)
            if i not in self._void
        ]

    def read(self, sample: Sample, info: ImageInfo) -> ImageAnnotation:
        """Read the panoptic or the instance PNG."""
        if self._panoptic is not None:
            return self._panoptic.read(sample, info)
        path = sample.source
        numbers, positions = compact(self.align(read_values(path), info, path))
        keys = {c.key for c in self.classes}
        annotation = ImageAnnotation(info.size)
        instances = np.zeros(len(numbers), np.int32)
        for position, number in enumerate(numbers):
            label = number // DIVISOR
            if label not in keys and label not in self._void:
                raise UnreadableError(f"{path}: number {number} is of label {label}, which is none")
            instances[position] = -1 if label in self._void else position + 1
            annotation.instance_classes[position + 1] = (label, False)
        annotation.instance_map = instances[positions]
        return annotation


def _is_label(label: Any) -> bool:
    return isinstance(label, Mapping) and {"name", "instances", "evaluate"} <= set(label)
