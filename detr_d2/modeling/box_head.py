"""Class and box of every query (DETR paper, section 3.2, "Prediction feed-forward networks").

Legend: Q queries, K classes.
"""

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F


class MLP(nn.Module):
    """Linear layers with ReLU between them."""

    def __init__(self, input_dim: int, hidden_dim: int, output_dim: int, num_layers: int) -> None:
        super().__init__()
        sizes = [input_dim, *[hidden_dim] * (num_layers - 1), output_dim]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))

    def forward(self, x: Tensor) -> Tensor:
        """(..., input_dim) -> (..., output_dim)."""
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)


class BoxHead(nn.Module):
    """Linear classifier and box MLP, shared by all decoder layers."""

    def __init__(self, *, hidden_dim: int, num_classes: int) -> None:
        super().__init__()
        self.class_embed = nn.Linear(hidden_dim, num_classes + 1)
        self.bbox_embed = MLP(hidden_dim, hidden_dim, 4, num_layers=3)

    def forward(self, queries: Tensor, points: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Predict from box embeddings (..., Q, d).

        Args:
            queries: the embeddings.
            points: logits (..., Q, 2) of x and y, to which centres are relative; None: to nothing.

        Returns:
            Logits (..., Q, K + 1), the last column "no object", and boxes (..., Q, 4) as cxcywh,
            fractions of the unpadded image.
        """
        boxes = self.bbox_embed(queries)
        if points is not None:
            boxes = boxes + F.pad(points, (0, 2))
        return self.class_embed(queries), boxes.sigmoid()


@dataclass
class ClassPredictions:
    """Classes of the queries of one image.

    Attributes:
        probabilities: float (Q, K) of the real classes, without "no object".
        scores: float (Q,), probability of the best real class.
        classes: int64 (Q,), the best real class.
        is_object: bool (Q,), whether it beats "no object", and the query is no duplicate.
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
