"""Training: optimizer, step, trainer, weight averaging, checkpoints, hooks; running on images."""

from detr_d2.checkpoint.checkpointer import Checkpointer
from detr_d2.engine.check import check_training
from detr_d2.engine.launcher import launch
from detr_d2.engine.predictor import Predictor
from detr_d2.engine.setup import setup_job
from detr_d2.engine.trainer import DetrTrainer
from detr_d2.engine.training_folder import registered_categories, use_model_categories

__all__ = [
    "Checkpointer",
    "DetrTrainer",
    "Predictor",
    "check_training",
    "launch",
    "registered_categories",
    "setup_job",
    "use_model_categories",
]
