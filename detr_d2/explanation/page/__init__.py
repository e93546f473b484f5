"""Assemble the explanation page: one HTML file that needs no network."""

from detr_d2.explanation.page.build import build_page

__all__ = ["build_page"]
