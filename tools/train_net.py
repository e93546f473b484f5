"""Train and evaluate, with Detectron2's command line.

python tools/train_net.py --config-file configs/... --dataset NAME IMAGES PNGS JSON \
    OUTPUT_DIR output/mine DATASETS.TRAIN "('mine_train',)" DATASETS.TEST "('mine_val',)"
"""

import argparse
from typing import Any

from detr_d2.engine import (
    Checkpointer,
    DetrTrainer,
    check_training,
    command_line,
    launch,
    setup_job,
)

from detectron2.config import CfgNode
from detectron2.engine import default_argument_parser
from detectron2.utils import comm


def argument_parser() -> argparse.ArgumentParser:
    """Detectron2's arguments, and data sets to register. --config-file takes zoo names too."""
    parser = default_argument_parser()
    command_line.add_dataset_option(parser)
    parser.add_argument(
        "--check", action="store_true", help="run every part of the training once, and stop"
    )
    return parser


def setup(args: argparse.Namespace) -> CfgNode:
    """Config from file and command line; logging, seed and record of the run."""
    cfg = command_line.load_config(args.config_file, args.opts)
    cfg.freeze()
    setup_job(cfg, args)
    return cfg


def main(args: argparse.Namespace) -> dict[str, Any]:
    """Run the job; called in every process, which is why data sets are registered here."""
    command_line.register_datasets(args)
    cfg = setup(args)
    if args.eval_only:
        model = DetrTrainer.build_model(cfg)
        checkpointer = Checkpointer(model, save_dir=cfg.OUTPUT_DIR, cfg=cfg)
        checkpointer.resume_or_load(cfg.MODEL.WEIGHTS, resume=args.resume)
        return DetrTrainer.test(cfg, model)
    if args.check:
        table = check_training(cfg)
        if comm.is_main_process():
            print(table)
        return {}
    trainer = DetrTrainer(cfg)
    trainer.resume_or_load(resume=args.resume)
    return trainer.train()


if __name__ == "__main__":
    launch(main, argument_parser().parse_args())
