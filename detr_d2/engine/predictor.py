"""A trained model ready to run on images."""

import os
from collections.abc import Sequence
from typing import Any, TypeAlias, overload

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import transforms as T
from detectron2.modeling import build_model
from PIL import Image
from tqdm import tqdm

from detr_d2 import model_zoo
from detr_d2.checkpoint.checkpointer import Checkpointer
from detr_d2.data.categories import CategoryTable, check_same_classes
from detr_d2.data.coco_writer import PanopticFolder
from detr_d2.data.image_ids import ImageIds
from detr_d2.data.mapper import build_augmentation
from detr_d2.engine.command_line import load_config
from detr_d2.engine.training_folder import registered_categories, use_model_categories
from detr_d2.utils.device import use_available_device
from detr_d2.visualization import Palette, read_image, render_output
from detr_d2.visualization.video import find_sources

ImageLike: TypeAlias = np.ndarray | str | os.PathLike[str]


class Predictor:
    """Build the model of a config, load MODEL.WEIGHTS, and resize images as evaluation does.

    An image is a path, which is read upright by its EXIF entry, or an array (H, W, 3) uint8 in
    **RGB** order whatever INPUT.FORMAT says. OpenCV's arrays are BGR: give `image[..., ::-1]`.

    Args:
        cfg: the whole config. Where its GPU is not there the model runs on the CPU.
        categories: names, colours and ids of the classes; None takes those that the config's data
            sets are registered with.

    Raises:
        ValueError: INPUT.FORMAT is neither RGB nor BGR; or the classes of the data sets, or
            `categories`, are not those of the model.
        detr_d2.checkpoint.WeightsError: the weights cannot be read or do not fit.
    """

    def __init__(self, cfg: CfgNode, categories: CategoryTable | None = None) -> None:
        if cfg.INPUT.FORMAT not in ("RGB", "BGR"):
            raise ValueError(f"INPUT.FORMAT is {cfg.INPUT.FORMAT!r}, allowed: 'RGB', 'BGR'")
        check_same_classes([*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST])
        cfg = cfg.clone()
        cfg.defrost()
        use_available_device(cfg)
        self.model = build_model(cfg).eval()
        Checkpointer(self.model, cfg=cfg).load(cfg.MODEL.WEIGHTS)
        self.resize = T.AugmentationList(build_augmentation(cfg, is_train=False))
        self.edges = (cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST)
        self.reverse = cfg.INPUT.FORMAT == "BGR"
        entries = registered_categories([*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST])
        self._categories = categories or (CategoryTable(entries) if entries else None)
        _check_names(self._categories, getattr(self.model, "class_names", ()))

    @classmethod
    def from_zoo(cls, config_path: str, device: str | None = None) -> "Predictor":
        """Take a model with published weights, which Detectron2 downloads once.

        Args:
            config_path: a name such as "COCO-PanopticSegmentation/detr_panoptic_R_50.yaml".
            device: "cpu", "cuda:1", ...; None takes a GPU if there is one.

        Raises:
            ValueError: no such config, without published weights, or no such device.
        """
        cfg = model_zoo.get_config(config_path, trained=True)
        use_available_device(cfg, asked=device)
        return cls(cfg)

    @classmethod
    def from_run(cls, folder: str | os.PathLike[str], device: str | None = None) -> "Predictor":
        """Take the model of a training folder: its config, categories and best weights.

        Args:
            folder: OUTPUT_DIR of a training. The weights are model_best.pth, else model_ema.pth,
                else model_final.pth.
            device: as `from_zoo` has it.

        Raises:
            ValueError: no config or no weights are there, or no such device.
        """
        opts = [] if device is None else ["MODEL.DEVICE", device]
        cfg = load_config(os.fspath(folder), opts, best=True)
        return cls(cfg, use_model_categories(cfg, os.fspath(folder)))

    @property
    def categories(self) -> CategoryTable:
        """The classes in the order of the ids that the outputs have.

        Raises:
            ValueError: neither the constructor nor a registered data set said them.
        """
        if self._categories is None:
            raise ValueError("the model's categories are unknown: give Predictor(categories=...)")
        return self._categories

    @overload
    def __call__(self, images: ImageLike, enlarge: bool = ...) -> dict[str, Any]: ...

    @overload
    def __call__(self, images: list[Any], enlarge: bool = ...) -> list[dict[str, Any]]: ...

    @torch.no_grad()
    def __call__(
        self, images: ImageLike | list[Any], enlarge: bool = True
    ) -> dict[str, Any] | list[dict[str, Any]]:
        """Run the model.

        Args:
            images: one image, or a list of images of any sizes, which run as one batch.
            enlarge: False gives the outputs of an image that the model saw shrunk at the size at
                which it saw it, which takes less memory.

        Returns:
            Detectron2's dictionary (`instances`, and of panoptic models `panoptic_seg`) at the
            image's size; of a list of images a list of them.

        Raises:
            ValueError: an array that is no RGB image.
            OSError: a file that is no image.
        """
        if not isinstance(images, list):
            return self([images], enlarge)[0]
        outputs: list[dict[str, Any]] = []
        if images:
            outputs = self.model([self._input(as_rgb(image), enlarge) for image in images])
        return outputs

    def _input(self, image: np.ndarray, enlarge: bool) -> dict[str, Any]:
        """Make the model's input of an RGB image."""
        self._check_shape(image)
        resized = T.AugInput(image[..., ::-1] if self.reverse else image)
        self.resize(resized)
        chw = np.ascontiguousarray(resized.image.transpose(2, 0, 1))
        height, width = image.shape[:2]
        if not enlarge and height > chw.shape[1]:
            height, width = chw.shape[1:]
        return {"image": torch.from_numpy(chw), "height": height, "width": width}

    def _check_shape(self, image: np.ndarray) -> None:
        """Raise ValueError for an image whose shorter side would shrink to nothing."""
        height, width = image.shape[:2]
        shortest, longest = self.edges
        # MIN_SIZE_TEST 0 asks for no scaling.
        sides = (height, width)
        if shortest and all(sides):
            sides = T.ResizeShortestEdge.get_output_shape(height, width, shortest, longest)
        if not all(sides):
            raise ValueError(
                f"an image of {width}x{height} pixels: scaled to INPUT.MAX_SIZE_TEST {longest} "
                "its shorter side has no pixel; crop it"
            )

    def render(
        self, image: ImageLike, output: dict[str, Any], width: int | None = None
    ) -> Image.Image:
        """Render what the model found in an image over the image.

        Args:
            image: the image that was run.
            output: its dictionary.
            width: of the picture in pixels; None keeps the image's.

        Returns:
            A Pillow image, which a notebook shows and `.save(path)` writes.
        """
        palette = Palette.from_categories(self.categories.categories)
        return Image.fromarray(render_output(as_rgb(image), output, palette, width))

    def save_coco_panoptic(
        self,
        folder: str | os.PathLike[str],
        images: Sequence[str | os.PathLike[str]],
        ids_from: str | os.PathLike[str] | None = None,
    ) -> str:
        """Run on images and write what was found as a COCO-panoptic set.

        Args:
            folder: where `panoptic.json` and `panoptic/`, the id PNGs, go; the JSON of an earlier
                run is replaced.
            images: files, folders with all their subfolders, or patterns like "a/*.jpg".
            ids_from: a COCO or COCO-panoptic JSON whose images have the ids; without it they are
                hashes of the names, which no data set has.

        Returns:
            The path of `panoptic.json`, whose category ids are those of the data set.

        Raises:
            ValueError: a video, nothing to run on, two images with the same output, an image that
                `ids_from` does not have, or a model without masks.
        """
        sources = find_sources([os.fspath(image) for image in images])
        videos = [str(source.path) for source in sources if source.is_video]
        if videos:
            raise ValueError(f"{videos} are videos: tools/demo.py runs on them")
        image_ids = ImageIds(ids_from)
        image_ids.check(source.name for source in sources)
        result = PanopticFolder(folder, self.categories, image_ids=image_ids)
        for source in tqdm(sources, unit=" images", disable=None):
            result.add(source.name, *panoptic_map(self(source.path)))
        result.save()
        return str(result.json)


def _check_names(table: CategoryTable | None, class_names: Sequence[str]) -> None:
    """Raise ValueError unless categories name the model's classes, where both are known."""
    given = [category.name for category in table.categories] if table is not None else []
    if given and class_names and given != list(class_names):
        raise ValueError(
            f"the categories are {given}; the model's classes, by the data sets of its config, "
            f"are {list(class_names)}"
        )


def panoptic_map(output: dict[str, Any]) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Return the id map (H, W) and the segments of an output.

    Raises:
        ValueError: it has none.
    """
    if "panoptic_seg" not in output:
        raise ValueError("the model makes no panoptic map: that needs a mask head, PanopticDetr")
    id_map, segments = output["panoptic_seg"]
    return id_map.cpu().numpy(), segments


def as_rgb(image: ImageLike) -> np.ndarray:
    """Return an image as an array (H, W, 3) uint8 RGB, read from its file if it is a path.

    Raises:
        ValueError: an array of another shape or type, whose meaning could only be guessed.
    """
    if isinstance(image, str | os.PathLike):
        return read_image(os.fspath(image))
    if not isinstance(image, np.ndarray):
        raise ValueError(f"an image of type {type(image).__name__}; give a path or a numpy array")
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(
            f"an image array {image.shape} of {image.dtype}; needed: (H, W, 3) uint8, RGB"
        )
    return image
