"""--check: what it counts, what it leaves, and that it stops where the training would."""

import itertools
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from detectron2.utils import comm
from kills import start_child
from tiny_model import processes, tiny_cfg

from detr_d2.engine import check, check_training, launch


@pytest.fixture
def cfg(tiny_set, register, tmp_path):
    cfg = tiny_cfg("PanopticDetr")
    cfg.DATASETS.TRAIN = cfg.DATASETS.TEST = (register(**tiny_set.paths()),)
    cfg.MODEL.DETR.NUM_CLASSES = 0
    cfg.INPUT.FORMAT = "RGB"
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MIN_SIZE_TEST = (32,), 32
    cfg.DATALOADER.NUM_WORKERS = 0
    cfg.TEST.EVALUATORS = ["panoptic", "box"]
    cfg.SOLVER.IMS_PER_BATCH = 4
    cfg.SOLVER.ACCUMULATE = 2
    cfg.SOLVER.MAX_ITER = 30
    cfg.SOLVER.STEPS = (20,)
    cfg.SOLVER.CHECKPOINT_PERIOD = 10
    cfg.OUTPUT_DIR = str(tmp_path / "out")
    return cfg


def test_the_table_says_what_the_training_will_do_and_nothing_is_left(cfg):
    cfg.MODEL.DETR.NUM_QUERIES = 2
    table = check_training(cfg)
    # Image a: sky, brick, soil, and a crowd of pipes; image b: soil and pipe; the third is empty.
    assert "pipe 1, brick 1, sky 1, soil 2" in table
    assert "2; at most 3 objects in an image" in table
    assert "1 images have more objects than there are queries" in table
    assert "30 iterations of 4 images, 60 times each image" in table
    assert "x 0.1 at [20]" in table
    assert "4 checkpoints of" in table
    assert "3 images" in table
    assert "loss_dice" in table
    assert "MB in this process" in table
    assert os.listdir(cfg.OUTPUT_DIR) == []
    # A cosine has no steps, whatever STEPS says.
    cfg.SOLVER.LR_SCHEDULER_NAME = "WarmupCosineLR"
    table = check_training(cfg)
    assert "WarmupCosineLR" in table and "at [20]" not in table


def check_in_process(args):
    start_child()
    table = check_training(args.cfg)
    Path(args.cfg.OUTPUT_DIR, f"table_{comm.get_rank()}.txt").write_text(table)


@pytest.mark.usefixtures("forked")
def test_two_processes_check_in_one_folder(cfg):
    launch(check_in_process, processes(2, cfg=cfg))
    assert sorted(os.listdir(cfg.OUTPUT_DIR)) == ["table_0.txt", "table_1.txt"]
    assert "30 iterations of 4 images" in Path(cfg.OUTPUT_DIR, "table_0.txt").read_text()


def test_the_disk_space_is_that_of_all_files(cfg, monkeypatch):
    cfg.TEST.EVAL_PERIOD, cfg.SOLVER.EMA.ENABLED = 10, True
    megabyte = check.MEGABYTE
    monkeypatch.setattr(check, "_save", lambda trainer: (30 * megabyte, 10 * megabyte))
    # 4 x 30, 2 x 10, and 10 for the one that is being replaced.
    for free, little in ((150, ""), (149, " - TOO LITTLE")):
        blocks = SimpleNamespace(f_bavail=free, f_frsize=megabyte)
        monkeypatch.setattr(check.os, "statvfs", lambda path, blocks=blocks: blocks)
        text = check._disk(cfg, 30 * megabyte, 10 * megabyte)
        assert text == (
            "4 checkpoints of 30 MB, model_best.pth of 10 MB, model_ema.pth of 10 MB; "
            f"{free} MB are free{little}"
        )
    assert "model_best.pth" in check_training(cfg)
    cfg.TEST.BEST_BY, cfg.SOLVER.EMA.ENABLED = [], False
    assert check._disk(cfg, megabyte, megabyte).startswith("4 checkpoints of 1 MB; ")


def test_no_file_is_counted_that_the_training_does_not_write(cfg):
    megabyte = check.MEGABYTE
    os.makedirs(cfg.OUTPUT_DIR)
    cfg.TEST.EVAL_PERIOD = 0
    assert check._disk(cfg, megabyte, megabyte).startswith("4 checkpoints of 1 MB; ")
    cfg.SOLVER.CHECKPOINT_PERIOD = 0
    assert check._disk(cfg, megabyte, megabyte).startswith("1 checkpoints of 1 MB; ")


def test_the_schedule_is_that_of_the_config(cfg):
    cfg.SOLVER.MAX_ITER, cfg.SOLVER.STEPS, cfg.SOLVER.GAMMA = 200, (150, 180), 0.25
    cfg.SOLVER.BASE_LR, cfg.SOLVER.WARMUP_ITERS = 0.003, 17
    rows = dict(check._schedule_rows(cfg, seconds=36.0))
    # Two images have objects.
    assert rows["schedule"] == (
        "200 iterations of 4 images, 400 times each image; learning rate 0.003, "
        "x 0.25 at [150, 180], warm-up 17"
    )
    assert rows["time"].endswith("at most 2 h")


def test_the_step_takes_the_images_of_most_objects_and_an_evaluation_its_time(cfg, monkeypatch):
    """Image 7 has three objects, image 8 two. A clock goes on by 1 s at each look."""
    cfg.TEST.IMS_PER_BATCH = 2
    trainer = check._DryTrainer(cfg)
    for batch, expected in ((4, [7, 8]), (2, [7]), (6, [7, 8, 7])):
        cfg.SOLVER.IMS_PER_BATCH = batch
        images = next(iter(trainer.build_train_loader(cfg)))
        assert [image["image_id"] for image in images] == expected
    clock = SimpleNamespace(perf_counter=itertools.count().__next__)
    monkeypatch.setattr(check, "time", clock)
    ((_, text),) = check._evaluate(trainer, cfg.DATASETS.TEST[0])
    assert text == "3 images, 0.5 s each"


def test_a_class_without_an_object_is_said(cfg, tiny_set, register):
    for annotation in tiny_set.content["annotations"]:
        for segment in annotation["segments_info"]:
            segment["iscrowd"] = int(segment["iscrowd"] or segment["category_id"] == 9)
    tiny_set.write()
    assert "classes without an object to learn from: brick" in check_training(cfg)


def test_what_would_stop_the_training_stops_the_check(cfg, tiny_set):
    cfg.TEST.EVALUATORS = ["panoptics"]
    with pytest.raises(ValueError, match="panoptics"):
        check_training(cfg)
    assert os.listdir(cfg.OUTPUT_DIR) == []
    cfg.MODEL.DETR.NUM_QUERIES = 0
    with pytest.raises(ValueError, match="NUM_QUERIES is 0, must be an integer from 1"):
        check_training(cfg)
