"""Best class of every query of one image. Legend: Q queries, K classes."""

from dataclasses import dataclass

from torch import Tensor


@dataclass
class ClassPredictions:
    """Classes of the queries of one image.

    Attributes:
        probabilities: float (Q, K) of the real classes, without "no object".
        scores: float (Q,), probability of the best real class.
        classes: int64 (Q,), the best real class.
        is_object: bool (Q,), whether it beats "no object".
    """

    probabilities: Tensor
    scores: Tensor
    classes: Tensor
    is_object: Tensor

    def select(self, chosen: Tensor) -> "ClassPredictions":
        """Return those of chosen queries, an index or bool (Q,)."""
        return ClassPredictions(
            self.probabilities[chosen],
            self.scores[chosen],
            self.classes[chosen],
            self.is_object[chosen],
        )


def predict_classes(logits: Tensor) -> ClassPredictions:
    """Turn logits (Q, K + 1), the last column "no object", into predictions."""
    probabilities = logits.float().softmax(-1)
    scores, classes = probabilities[:, :-1].max(-1)
    return ClassPredictions(
        probabilities[:, :-1], scores, classes, is_object=scores > probabilities[:, -1]
    )
