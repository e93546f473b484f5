import itertools
import json
import os

import numpy as np
import pytest
import torch
from detectron2.utils import comm
from kills import start_child
from PIL import Image
from tiny_model import processes
from toy_model import ToyModel  # noqa: F401  registers itself, in every process

from detr_d2.checkpoint import LoadingRules
from detr_d2.engine import DetrTrainer, launch
from detr_d2.engine.ema import WeightAverageHook
from detr_d2.engine.training_records import objects_of


class SameBatches(DetrTrainer):
    """Feeds the same two batches in turn, so that runs can be compared."""

    @classmethod
    def build_train_loader(cls, cfg):
        batch, _ = itertools.tee(DetrTrainer.build_train_loader(cfg))
        fixed = next(iter(batch))
        for number, image in enumerate(fixed):
            image["image"] = torch.full((3, 4, 5), 40 * (number + 1), dtype=torch.uint8)
        return itertools.repeat(fixed)


def weights_of(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def run(cfg, until, resume=False):
    cfg = cfg.clone()
    trainer = SameBatches(cfg)
    trainer.resume_or_load(resume=resume)
    trainer.max_iter = until
    trainer.train()
    return trainer


def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(toy_cfg, tmp_path):
    # The learning rate drops at 3, after the break: the schedule must go on too.
    toy_cfg.TEST.EVALUATORS = []
    toy_cfg.SOLVER.MAX_ITER = 6
    toy_cfg.SOLVER.EMA.ENABLED = True
    toy_cfg.OUTPUT_DIR = str(tmp_path / "whole")
    whole = run(toy_cfg, 6)
    toy_cfg.OUTPUT_DIR = str(tmp_path / "parts")
    run(toy_cfg, 2)
    second = run(toy_cfg, 6, resume=True)

    assert second.start_iter == 2
    ours, theirs = weights_of(second.model), weights_of(whole.model)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]), name
    files = [torch.load(tmp_path / d / "model_ema.pth") for d in ("whole", "parts")]
    for name, value in files[0]["model"].items():
        assert torch.equal(value, files[1]["model"][name]), name
    lr = [t.optimizer.param_groups[0]["lr"] for t in (whole, second)]
    assert lr[0] == lr[1] == pytest.approx(toy_cfg.SOLVER.BASE_LR * 0.1 * 0.1)


def test_evaluation_uses_the_averaged_weights(toy_cfg, monkeypatch):
    toy_cfg.SOLVER.EMA.ENABLED = True
    toy_cfg.SOLVER.EMA.DECAY = 0.9
    seen = []

    def test(cls, cfg, model):
        seen.append(weights_of(model))
        return {}

    monkeypatch.setattr(SameBatches, "test", classmethod(test))
    trainer = run(toy_cfg, 4)
    saved = torch.load(os.path.join(toy_cfg.OUTPUT_DIR, "model_ema.pth"))["model"]
    assert len(seen) == 1
    for name, value in seen[0].items():
        assert torch.equal(value, saved[name]), name
    assert not torch.equal(seen[0]["head.weight"], trainer.model.head.weight)


def test_training_evaluates_writes_the_figures_and_pictures(toy_cfg):
    toy_cfg.TEST.EVAL_PERIOD = 2
    toy_cfg.TEST.VISUALIZE = 2
    pictures = []

    class Watched(DetrTrainer):
        def build_writers(self):
            self.storage_of = lambda: self.storage
            return []

        def after_step(self):
            super().after_step()
            pictures.extend((name, step) for name, _, step in self.storage._vis_data)

        def after_train(self):
            super().after_train()
            pictures.extend((name, step) for name, _, step in self.storage._vis_data)

    trainer = Watched(toy_cfg)
    trainer.resume_or_load(resume=False)
    results = trainer.train()

    (name,) = toy_cfg.DATASETS.TEST
    # The first and the last image, after two steps and at the end.
    assert {name for name, _ in pictures} == {f"{name}/7", f"{name}/9"}
    assert {step for _, step in pictures} == {1, 4}
    with open(os.path.join(toy_cfg.OUTPUT_DIR, "evaluation.json")) as file:
        figures = json.load(file)
    assert figures["PQ"] == results["panoptic_seg"]["PQ"]
    assert 0 < figures["PQ_st"] < 100
    assert figures["box_AP"] is None
    files = set(os.listdir(toy_cfg.OUTPUT_DIR))
    assert {"model_0000001.pth", "model_final.pth", "last_checkpoint"} <= files
    # Three images with what was found in them; there is no log here for the curves.
    picture = np.asarray(Image.open(os.path.join(toy_cfg.OUTPUT_DIR, "training.png")))
    assert picture.shape[0] > 3 * 150 and picture.shape[1] > 3 * 270


def test_checkpoint_period_zero_writes_at_the_end_only(toy_cfg):
    toy_cfg.SOLVER.CHECKPOINT_PERIOD = 0
    toy_cfg.TEST.EVALUATORS = []
    run(toy_cfg, 4)
    assert [f for f in os.listdir(toy_cfg.OUTPUT_DIR) if f.endswith(".pth")] == ["model_final.pth"]


def test_loader_gives_micro_batches(toy_cfg):
    toy_cfg.SOLVER.IMS_PER_BATCH = 6
    toy_cfg.SOLVER.ACCUMULATE = 3
    batch = next(iter(DetrTrainer.build_train_loader(toy_cfg)))
    assert len(batch) == 2
    assert batch[0]["instances"].has("gt_masks")
    toy_cfg.SOLVER.ACCUMULATE = 4
    with pytest.raises(ValueError, match="IMS_PER_BATCH 6 must be a multiple"):
        DetrTrainer.build_train_loader(toy_cfg)


def test_data_workers_by_config(toy_cfg):
    toy_cfg.DATALOADER.NUM_WORKERS = 3
    assert DetrTrainer.build_train_loader(toy_cfg).num_workers == 3


def test_wide_and_tall_images_are_kept_apart_by_config(toy_cfg):
    """Image 7 is wide, image 8 tall."""
    toy_cfg.DATALOADER.ASPECT_RATIO_GROUPING = True
    batches = itertools.islice(DetrTrainer.build_train_loader(toy_cfg), 6)
    found = {tuple(image["image_id"] for image in batch) for batch in batches}
    assert found == {(7, 7), (8, 8)}


@pytest.mark.parametrize(("leave_out", "expected"), [(True, {7, 8}), (False, {7, 8, 9})])
def test_images_without_segments_by_config(toy_cfg, leave_out, expected):
    toy_cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS = leave_out
    batches = itertools.islice(iter(DetrTrainer.build_train_loader(toy_cfg)), 6)
    assert {image["image_id"] for batch in batches for image in batch} == expected


@pytest.mark.parametrize(
    ("record", "count"),
    [
        ({"segments_info": [{"id": 1}, {"id": 2, "iscrowd": 1}]}, 1),
        ({"annotations": [{"iscrowd": 1}], "sem_seg_file_name": "a.png"}, 0),
        # What a mapper of the user's own makes of it is unknown: not left out as empty.
        ({"file_name": "a.jpg"}, 1),
    ],
)
def test_objects_that_are_learned_of_a_record(record, count):
    assert len(objects_of(record)) == count


def test_batch_schedule_and_rate_follow_the_number_of_processes(toy_cfg):
    toy_cfg.SOLVER.REFERENCE_WORLD_SIZE = 2
    toy_cfg.SOLVER.IMS_PER_BATCH = 4
    trainer = DetrTrainer(toy_cfg)
    assert trainer.cfg.SOLVER.IMS_PER_BATCH == 2
    assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(0.005 * 0.1)
    assert trainer.max_iter == 8


def two_processes(args):
    """Train in one of two processes; the main one writes the weights."""
    start_child()
    trainer = RankBatches(args.cfg)
    trainer.train()
    if comm.is_main_process():
        torch.save(trainer.checkpointer.model.state_dict(), args.path)


class RankBatches(DetrTrainer):
    """Image n of a step has brightness 30 n; each process gets its own part of the step."""

    @classmethod
    def build_train_loader(cls, cfg):
        world, parts = comm.get_world_size(), cfg.SOLVER.ACCUMULATE
        images = [
            {"image": torch.full((3, 4, 5), 30 * number, dtype=torch.uint8)}
            for number in range(cfg.SOLVER.IMS_PER_BATCH)
        ]
        own = images[comm.get_rank() :: world]
        return itertools.cycle([own[start::parts] for start in range(parts)])


@pytest.mark.usefixtures("forked")
def test_two_processes_on_cpu_with_accumulation_learn_what_one_learns(toy_cfg, tmp_path):
    toy_cfg.DATASETS.TEST = ()
    toy_cfg.SOLVER.IMS_PER_BATCH = 8
    toy_cfg.SOLVER.ACCUMULATE = 2
    toy_cfg.SOLVER.MAX_ITER = 3
    toy_cfg.SOLVER.STEPS = (2,)
    toy_cfg.SOLVER.OPTIMIZER = "SGD"
    toy_cfg.SOLVER.EMA.ENABLED = True
    path = str(tmp_path / "weights.pth")
    launch(two_processes, processes(2, cfg=toy_cfg, path=path))

    toy_cfg.SOLVER.ACCUMULATE = 1
    one = RankBatches(toy_cfg)
    one.train()

    for name, value in torch.load(path).items():
        if name != "seen":
            torch.testing.assert_close(value, one.model.state_dict()[name], msg=name)


def test_test_images_are_neither_flipped_nor_given_objects(toy_cfg, tiny_set):
    """Sizes of evaluation, in batches of two and one."""
    toy_cfg.TEST.IMS_PER_BATCH = 2
    toy_cfg.INPUT.MIN_SIZE_TRAIN, toy_cfg.INPUT.MIN_SIZE_TEST = (48,), 10
    loader = DetrTrainer.build_test_loader(toy_cfg, toy_cfg.DATASETS.TEST[0])
    for _ in range(3):
        batches = list(loader)
        assert [[x["image_id"] for x in batch] for batch in batches] == [[7, 8], [9]]
        assert not any("instances" in x for batch in batches for x in batch)
        # 10 rows already: the image as it is.
        pixels = np.asarray(Image.open(tiny_set.root / "images" / "empty.jpg"))
        assert np.array_equal(batches[1][0]["image"].numpy().transpose(1, 2, 0), pixels)


def test_the_step_is_that_of_the_config(toy_cfg):
    toy_cfg.SOLVER.MAX_SKIPPED_STEPS = 3
    toy_cfg.SOLVER.ACCUMULATE = 2
    toy_cfg.SOLVER.AMP.ENABLED = True
    toy_cfg.SOLVER.CLIP_GRADIENTS.ENABLED = True
    toy_cfg.SOLVER.CLIP_GRADIENTS.CLIP_TYPE = "value"
    toy_cfg.SOLVER.CLIP_GRADIENTS.CLIP_VALUE = 0.5
    step = DetrTrainer(toy_cfg)._trainer
    assert (step.max_skipped, step.accumulate, step.precision) == (3, 2, torch.bfloat16)
    parameter = torch.nn.Parameter(torch.zeros(2))
    parameter.grad = torch.tensor([3.0, 0.25])
    step.clip([parameter])
    assert parameter.grad.tolist() == [0.5, 0.25]


def test_weights_are_loaded_by_the_config_and_checked_against_it(toy_cfg):
    toy_cfg.MODEL.DETR.LOAD.CLASS_ROWS = "in_order"
    toy_cfg.MODEL.DETR.LOAD.BOX_HEAD = False
    trainer = DetrTrainer(toy_cfg)
    assert trainer.checkpointer.rules == LoadingRules(class_rows="in_order", box_head=False)
    assert trainer.checkpointer.cfg is trainer.cfg


def test_the_average_has_the_decay_and_the_period_of_the_config(toy_cfg):
    toy_cfg.SOLVER.EMA.ENABLED = True
    toy_cfg.SOLVER.EMA.DECAY = 0.75
    toy_cfg.SOLVER.CHECKPOINT_PERIOD = 3
    hooks = [h for h in DetrTrainer(toy_cfg)._hooks if isinstance(h, WeightAverageHook)]
    assert [(hook.weights.decay, hook.period) for hook in hooks] == [(0.75, 3)]


def test_without_a_test_set_no_figures_are_written(toy_cfg):
    toy_cfg.DATASETS.TEST = ()
    assert DetrTrainer.test(toy_cfg, DetrTrainer.build_model(toy_cfg)) == {}
    assert not os.path.exists(os.path.join(toy_cfg.OUTPUT_DIR, "evaluation.json"))
