"""The page of a tiny model's pass, and the browser that shows it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from browser import Visit, launch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from tiny_model import tiny_cfg

from detr_d2.engine import Predictor
from detr_d2.explanation.build_payload import build_payload
from detr_d2.explanation.page import build_page
from detr_d2.explanation.payload import Payload
from detr_d2.explanation.recorded_pass import RecordedPass, record_pass
from detr_d2.visualization import Palette

UNTIDY = "<script>window.hacked = 1</script> & <b>brick</b>"
NAMES = [UNTIDY, "pipe", "sky", "soil", "wall"]
SIZE = (130, 200)
SEED = 9


@dataclass
class Explained:
    """A page, the pass that it shows, and the data in it."""

    file: Path
    recorded: RecordedPass
    payload: Payload

    @property
    def cells(self) -> tuple[int, int]:
        h, w = self.recorded.trace.get("projected").shape[-2:]
        return h, w


def save_random_weights(cfg: CfgNode, path: Path) -> None:
    """Weights with which the tiny model finds several things and stuff."""
    torch.manual_seed(SEED)
    model = build_model(cfg)
    with torch.no_grad():
        model.box_head.class_embed.weight *= 8
        model.query_embed.weight *= 3
        # So that queries differ from one another, as those of a trained model do.
        parts = [model.transformer]
        if cfg.MODEL.META_ARCHITECTURE == "PanopticDetr":
            model.mask_head.convs[0].weight[:, cfg.MODEL.DETR.HIDDEN_DIM :] *= 30
            parts.append(model.bbox_attention)
        for parameter in [p for part in parts for p in part.parameters() if p.dim() == 2]:
            parameter *= 2
    torch.save({"model": model.state_dict()}, path)


def explain(folder: Path, arch: str) -> Explained:
    """The page of a tiny model with random weights, and of a non-square image."""
    cfg = tiny_cfg(arch)
    cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST = SIZE
    cfg.MODEL.DETR.SCORE_THRESH = 0.3
    cfg.MODEL.WEIGHTS = str(folder / "model.pth")
    save_random_weights(cfg, folder / "model.pth")
    predictor = Predictor(cfg)
    predictor.model.postprocess.thing_ids = frozenset({0, 1})
    picture = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    picture[40:90, 60:120] = (200, 60, 50)
    palette = Palette(NAMES, thing_ids=(0, 1))
    recorded = record_pass(predictor, picture, palette, title="<i>site</i>.jpg")
    payload = build_payload(recorded)
    file = folder / "explain.html"
    file.write_text(build_page(payload), encoding="utf-8")
    return Explained(file, recorded, payload)


@pytest.fixture(scope="session")
def explained(tmp_path_factory: pytest.TempPathFactory) -> Explained:
    """The page of a model that finds several segments."""
    page = explain(tmp_path_factory.mktemp("page"), "PanopticDetr")
    kinds = [s["isthing"] for s in page.payload.meta["merge"]["result"]["segments"]]
    assert len(kinds) >= 3 and len(set(kinds)) == 2, "the seed gives a dull image: choose another"
    return page


@pytest.fixture(scope="session")
def explained_boxes(tmp_path_factory: pytest.TempPathFactory) -> Explained:
    """The page of a model without masks."""
    return explain(tmp_path_factory.mktemp("boxes"), "Detr")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    with launch() as program:
        yield program


@pytest.fixture
def visit(browser: Any, explained: Explained) -> Iterator[Visit]:
    opened = Visit(browser, explained.file, viewport={"width": 1280, "height": 800})
    yield opened
    opened.close()
