"""Evaluators by config, and their results as one flat table."""

from detr_d2.evaluation.build import FIGURES, build_evaluators, flat_results

__all__ = ["FIGURES", "build_evaluators", "flat_results"]
