"""A review of automatic labels: pictures and one page to look at before training on them."""

from detr_d2.pseudo_labels.review.item import ReviewItem
from detr_d2.pseudo_labels.review.write import write_review

__all__ = ["ReviewItem", "write_review"]
