"""Data sets on disk that several tests share."""

import json
import multiprocessing
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image

from detr_d2.register import register_dataset

# Stuff and things mixed, ids with gaps, out of order. Contiguous: pipe 0, brick 1, sky 2, soil 3.
CATEGORIES: list[dict[str, Any]] = [
    {"id": 40, "name": "soil", "isthing": 0, "color": [130, 90, 50], "supercategory": "ground"},
    {"id": 9, "name": "brick", "isthing": 1, "color": [200, 60, 50], "supercategory": "material"},
    {"id": 5, "name": "sky", "isthing": 0, "color": [110, 180, 230], "supercategory": "outdoor"},
    {"id": 2, "name": "pipe", "isthing": 1, "color": [60, 110, 170], "supercategory": "material"},
]
# 70000 = 112 + 256 * 17 + 65536 * 1: all three channels differ, so a swapped order shows.
BRICK, CROWD, SKY, SOIL, PIPE = 70000, 300, 5, 65536, 256


@dataclass
class TinySet:
    """A COCO-panoptic set on disk; `content` is the JSON, to be changed and written again."""

    root: Path
    content: dict[str, Any]
    id_maps: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def json_path(self) -> Path:
        return self.root / "panoptic.json"

    def write(self) -> None:
        self.json_path.write_text(json.dumps(self.content))

    def paths(self) -> dict[str, Path]:
        """The arguments of `register_dataset`."""
        return {
            "image_root": self.root / "images",
            "panoptic_root": self.root / "panoptic",
            "panoptic_json": self.json_path,
        }


def first_map() -> np.ndarray:
    """16 rows, 24 columns: sky over soil, a brick, a crowd of pipes, a void column at the right."""
    ids = np.full((16, 24), SKY, np.int32)
    ids[10:] = SOIL
    ids[8:13, 4:10] = BRICK
    ids[9:15, 14:20] = CROWD
    ids[:, 23] = 0
    return ids


def second_map() -> np.ndarray:
    """20 rows, 14 columns: a pipe one pixel wide on soil."""
    ids = np.full((20, 14), SOIL, np.int32)
    ids[3:18, 6] = PIPE
    return ids


def _segment(ids: np.ndarray, segment_id: int, category_id: int, iscrowd: int = 0) -> dict:
    rows, cols = np.nonzero(ids == segment_id)
    box = [cols.min(), rows.min(), cols.max() + 1 - cols.min(), rows.max() + 1 - rows.min()]
    return {
        "id": segment_id,
        "category_id": category_id,
        "iscrowd": iscrowd,
        "area": len(rows),
        "bbox": [int(value) for value in box],
    }


def _save_ids(path: Path, ids: np.ndarray) -> None:
    channels = [ids % 256, ids // 256 % 256, ids // 65536]
    Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8)).save(path)


@pytest.fixture
def tiny_set(tmp_path: Path) -> TinySet:
    """Three images: a .jpg, a .png in a subfolder, and one (10 rows, 12 columns) all void."""
    rng = np.random.default_rng(0)
    maps = {"a": first_map(), "b": second_map(), "empty": np.zeros((10, 12), np.int32)}
    names = {"a": "a.jpg", "b": "deep/er/b.png", "empty": "empty.jpg"}
    segments = {
        "a": [
            _segment(maps["a"], SKY, 5),
            _segment(maps["a"], CROWD, 2, iscrowd=1),
            _segment(maps["a"], BRICK, 9),
            _segment(maps["a"], SOIL, 40),
        ],
        "b": [_segment(maps["b"], SOIL, 40), _segment(maps["b"], PIPE, 2)],
        "empty": [],
    }
    images, annotations = [], []
    for number, (stem, ids) in enumerate(maps.items(), start=7):
        height, width = ids.shape
        image = tmp_path / "images" / names[stem]
        image.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(image)
        (tmp_path / "panoptic").mkdir(exist_ok=True)
        _save_ids(tmp_path / "panoptic" / f"{stem}.png", ids)
        images.append({"id": number, "file_name": names[stem], "height": height, "width": width})
        annotations.append(
            {"image_id": number, "file_name": f"{stem}.png", "segments_info": segments[stem]}
        )
    # The images' order is no one's contract.
    content = {"images": images[::-1], "annotations": annotations, "categories": CATEGORIES}
    made = TinySet(tmp_path, content, maps)
    made.write()
    return made


@pytest.fixture
def register(request: pytest.FixtureRequest) -> Iterator[Callable[..., str]]:
    """Register under the test's own name, removed afterwards; by default COCO-panoptic files."""
    name = f"test_{request.node.name}"

    def _register(function: Callable[..., None] = register_dataset, **arguments: Any) -> str:
        function(name, **arguments)
        return name

    yield _register
    for catalog in (DatasetCatalog, MetadataCatalog):
        if name in catalog.list():
            catalog.remove(name)


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `launch` fork its processes, each of which else imports torch for ten seconds.

    They begin with `kills.start_child`, and know the catalogs as they are here. Threads of a GPU do
    not survive a fork: with one, processes are started as always.
    """
    if not torch.cuda.is_available():
        context = multiprocessing.get_context("fork")
        monkeypatch.setattr(multiprocessing, "get_context", lambda method: context)


@pytest.fixture
def test_data() -> str:
    """Folder of the real data; a test that needs it is skipped where it is absent."""
    folder = os.environ.get("DETR_D2_TEST_DATA")
    if not folder:
        pytest.skip("DETR_D2_TEST_DATA does not name the folder of the test data")
    if not os.path.isdir(folder):
        pytest.fail(f"DETR_D2_TEST_DATA is {folder}, which is no folder")
    return folder
