"""A training that was killed and resumed is the one that was never stopped, bit for bit."""

import itertools
import logging
import multiprocessing
import os
import shutil

import pytest
import torch
from detectron2.engine import HookBase
from detectron2.utils import comm
from kills import start_child
from PIL import Image
from tiny_model import processes, tiny_cfg
from training_states import assert_same, differences, log_of

from detr_d2.engine import DetrTrainer, launch, train_loader
from detr_d2.engine.train_loader import TrainLoader


class CopyFolder(HookBase):
    """Copies OUTPUT_DIR in the middle of a training: what a kill -9 would leave."""

    def __init__(self, iteration, source, copy):
        self.iteration, self.source, self.copy = iteration, source, copy

    def after_step(self):
        if self.trainer.iter == self.iteration:
            shutil.copytree(self.source, self.copy)


@pytest.fixture
def cfg(tiny_set, register, tmp_path):
    """DETR with dropout on three images; seven steps, a checkpoint and an evaluation after four."""
    cfg = tiny_cfg("Detr")
    cfg.DATASETS.TRAIN = (register(**tiny_set.paths()),)
    cfg.MODEL.DETR.NUM_CLASSES = 0
    cfg.MODEL.DETR.DROPOUT = 0.3
    cfg.INPUT.FORMAT = "RGB"
    cfg.INPUT.MIN_SIZE_TRAIN = (24, 32, 40)
    cfg.INPUT.CROP.ENABLED = True
    cfg.INPUT.CROP.TYPE = "relative_range"
    cfg.INPUT.CROP.SIZE = [0.5, 0.5]
    cfg.INPUT.CROP.RESIZE = [30, 36]
    cfg.DATALOADER.NUM_WORKERS = 0
    cfg.SOLVER.IMS_PER_BATCH = 2
    cfg.SOLVER.MAX_ITER = 7
    cfg.SOLVER.STEPS = (5,)
    cfg.SOLVER.WARMUP_ITERS = 2
    cfg.SOLVER.CHECKPOINT_PERIOD = 4
    cfg.SOLVER.EMA.ENABLED = True
    cfg.SOLVER.EMA.DECAY = 0.7
    cfg.OUTPUT_DIR = str(tmp_path / "whole")
    cfg.SEED = 5
    return cfg


def train(cfg, resume=False, hooks=()):
    trainer = DetrTrainer(cfg)
    # Between the checkpoint and what is done after it.
    trainer.register_hooks(list(hooks))
    trainer.resume_or_load(resume=resume)
    trainer.train()
    return trainer


def kill_and_resume(cfg, tmp_path, iteration=5):
    """Paths of the files of a training, and of one that goes on from what a kill left of it."""
    whole, parts = cfg.OUTPUT_DIR, str(tmp_path / "parts")
    train(cfg, hooks=[CopyFolder(iteration, whole, parts)])
    assert not os.path.exists(os.path.join(parts, "model_final.pth"))
    cfg.OUTPUT_DIR = parts
    assert train(cfg, resume=True).start_iter == 4
    return whole, parts


@pytest.mark.parametrize(("workers", "accumulate", "mixed"), [(0, 1, False), (2, 2, True)])
def test_killed_and_resumed_is_the_same(cfg, tmp_path, workers, accumulate, mixed):
    cfg.DATALOADER.NUM_WORKERS = workers
    cfg.SOLVER.ACCUMULATE = accumulate
    cfg.SOLVER.AMP.ENABLED = mixed
    assert_same(*kill_and_resume(cfg, tmp_path))


def test_data_workers_change_nothing(cfg, tmp_path):
    cfg.SOLVER.MAX_ITER = 3
    train(cfg)
    cfg.DATALOADER.NUM_WORKERS = 2
    cfg.OUTPUT_DIR = str(tmp_path / "workers")
    train(cfg)
    assert_same(str(tmp_path / "whole"), str(tmp_path / "workers"))
    # They would keep the program from ending.
    assert multiprocessing.active_children() == []


def test_the_seed_decides_the_weights(cfg, tmp_path):
    cfg.SOLVER.MAX_ITER = 2
    finals = []
    for number, seed in enumerate((5, 5, 6)):
        torch.rand(number)  # whatever was drawn before
        cfg.SEED = seed
        cfg.OUTPUT_DIR = str(tmp_path / str(number))
        finals.append(train(cfg).model.state_dict())
    assert differences(finals[0], finals[1]) == []
    assert differences(finals[0], finals[2]) != []


def test_a_drawn_seed_goes_on_after_a_resume(cfg, tmp_path):
    """Two steps are left: too few for a time of a step, which has no line of its own either."""
    cfg.SEED = -1
    cfg.SOLVER.MAX_ITER = 6
    assert_same(*kill_and_resume(cfg, tmp_path, iteration=4))


class Evaluated(DetrTrainer):
    """Its evaluation counts; it is interrupted where the test says."""

    fail = False
    count = 0

    @classmethod
    def test(cls, cfg, model, evaluators=None):
        cls.count += 1
        if cls.fail:
            raise KeyboardInterrupt
        return {"panoptic_seg": {"PQ": float(sum(p.sum() for p in model.parameters()))}}


def run_evaluated(cfg, resume=False):
    trainer = Evaluated(cfg)
    trainer._log._period = 2
    trainer.resume_or_load(resume=resume)
    trainer.train()


def test_an_evaluation_that_was_cut_short_is_done_at_the_resume(cfg, tmp_path, monkeypatch):
    cfg.TEST.EVAL_PERIOD = 4
    run_evaluated(cfg)
    whole = log_of(cfg.OUTPUT_DIR)
    assert [line["iteration"] for line in whole if "panoptic_seg/PQ" in line] == [3, 7]

    cfg.OUTPUT_DIR = str(tmp_path / "parts")
    monkeypatch.setattr(Evaluated, "fail", True)
    with pytest.raises(KeyboardInterrupt):
        run_evaluated(cfg)
    monkeypatch.setattr(Evaluated, "fail", False)
    run_evaluated(cfg, resume=True)
    assert log_of(cfg.OUTPUT_DIR) == whole
    # What is in the log is not done again.
    Evaluated.count = 0
    os.remove(os.path.join(cfg.OUTPUT_DIR, "model_final.pth"))
    with open(os.path.join(cfg.OUTPUT_DIR, "last_checkpoint"), "w") as file:
        file.write("model_0000003.pth")
    run_evaluated(cfg, resume=True)
    assert Evaluated.count == 1
    assert log_of(cfg.OUTPUT_DIR) == whole


def test_the_last_file_is_written_after_a_kill_between_the_last_two(cfg, tmp_path):
    cfg.SOLVER.MAX_ITER = cfg.SOLVER.CHECKPOINT_PERIOD = 2
    train(cfg)
    parts = str(tmp_path / "parts")
    shutil.copytree(cfg.OUTPUT_DIR, parts)
    os.remove(os.path.join(parts, "model_final.pth"))
    with open(os.path.join(parts, "last_checkpoint"), "w") as file:
        file.write("model_0000001.pth")
    whole, cfg.OUTPUT_DIR = cfg.OUTPUT_DIR, parts
    train(cfg, resume=True)
    assert_same(whole, parts)


def two_processes(args):
    """Train, and go on from what a kill would have left."""
    start_child()
    copy = CopyFolder(5, args.cfg.OUTPUT_DIR, args.parts)
    # One process copies the files, after it has written them.
    train(args.cfg, hooks=[copy] if comm.is_main_process() else [])
    args.cfg.OUTPUT_DIR = args.parts
    train(args.cfg, resume=True)


@pytest.mark.usefixtures("forked")
def test_killed_and_resumed_is_the_same_in_two_processes(cfg, tmp_path):
    whole, parts = cfg.OUTPUT_DIR, str(tmp_path / "parts")
    launch(two_processes, processes(2, cfg=cfg, parts=parts))
    assert_same(whole, parts)
    for folder in (whole, parts):
        assert Image.open(os.path.join(folder, "training.png")).size == (840, 270)


RECORDS = [
    {"image_id": n, "file_name": f"/data/{n}.jpg", "width": 4 + n % 3, "height": 5}
    for n in range(10)
]


def loader_of(records=RECORDS, batch=3, **kwargs):
    def indices(seed):
        generator = torch.Generator().manual_seed(seed)
        while True:
            yield from torch.randperm(len(records), generator=generator).tolist()

    def mapper(record):
        return {**record, "drawn": torch.rand(1).item()}

    return TrainLoader(records, mapper, indices, batch_size=batch, **kwargs)


def take(loader, count):
    """(image_id, random number) of the next images."""
    iterator = iter(loader)
    return [(x["image_id"], x["drawn"]) for _ in range(count) for x in next(iterator)]


def test_order_goes_on_from_the_place_of_the_state():
    expected = take(loader_of(seed=3), 7)
    first = loader_of(seed=3)
    assert take(first, 3) == expected[:9]
    second = loader_of(seed=3)
    second.load_state_dict(first.state_dict())
    assert take(second, 4) == expected[9:]


def test_an_image_seen_again_is_augmented_differently():
    numbers = [number for _, number in take(loader_of(), 10)]
    assert len(set(numbers)) == 30


def test_wide_and_tall_images_are_not_mixed_and_none_is_lost():
    loader = loader_of(group_by_aspect=True)
    iterator = iter(loader)
    batches = [next(iterator) for _ in range(20)]
    for batch in batches:
        assert len({image["height"] >= image["width"] for image in batch}) == 1
    assert {image["image_id"] for batch in batches for image in batch} == set(range(10))


def test_sizes_that_a_record_lacks_are_those_of_the_upright_image(tmp_path):
    """Stored wide; orientations 5 to 8 turn them by a quarter."""
    records = []
    for number in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = number
        path = tmp_path / f"{number}.png"
        Image.new("RGB", (6, 3)).save(path, exif=exif)
        records.append({"image_id": number, "file_name": str(path)})
    loader = loader_of(records, batch=4, group_by_aspect=True)
    batches = [{image["image_id"] for image in batch} for batch in itertools.islice(loader, 6)]
    assert set(map(frozenset, batches)) == {frozenset({1, 2, 3, 4}), frozenset({5, 6, 7, 8})}


def test_processes_share_out_each_batch(monkeypatch):
    whole = take(loader_of(), 4)
    monkeypatch.setattr("detectron2.utils.comm.get_world_size", lambda: 3)
    parts = []
    for rank in range(3):
        monkeypatch.setattr("detectron2.utils.comm.get_rank", lambda rank=rank: rank)
        parts.append(take(loader_of(), 4))
    assert [image for images in zip(*parts, strict=True) for image in images] == whole


@pytest.mark.parametrize(
    ("change", "message", "position"),
    [
        ({"records": RECORDS[:9]}, "have changed since the checkpoint", 0),
        ({"batch": 6}, "6 images a micro-batch now, 3 when", 2),
        ({"seed": 8}, "SEED is 8, but the checkpoint's data order has 0", 4),
        ({}, "", 4),
    ],
)
def test_what_has_changed_since_the_checkpoint_is_said(change, message, position, caplog):
    before = loader_of()
    take(before, 4)
    after = loader_of(**change)
    with caplog.at_level(logging.WARNING, "detr_d2"):
        after.load_state_dict(before.state_dict())
    # A thread of an earlier test may have something to say too.
    said = [r.getMessage() for r in caplog.records if r.name == train_loader.__name__]
    assert len(said) == bool(message) and all(message in text for text in said)
    assert after.position == position


def test_another_number_of_processes_is_said_and_sees_the_same_images(monkeypatch, caplog):
    before = loader_of(batch=4)
    take(before, 2)
    expected = take(before, 1)
    before.position = 2
    state = before.state_dict()
    monkeypatch.setattr("detectron2.utils.comm.get_world_size", lambda: 2)
    after = loader_of(batch=4)
    with caplog.at_level(logging.WARNING, "detr_d2"):
        after.load_state_dict(state)
    assert "2 processes now, 1 when" in caplog.text
    assert take(after, 1) == expected[::2]


@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_that_cannot_be_read_is_named(cfg, tiny_set, workers):
    path = tiny_set.root / "images" / "a.jpg"
    path.write_bytes(path.read_bytes()[:-300])
    cfg.DATALOADER.NUM_WORKERS = workers
    with pytest.raises(ValueError, match=r"training image .*a\.jpg"):
        train(cfg)
