"""Draw the steps of a recorded pass as PNG pictures, for slides and for documents."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from detr_d2.explanation.capture import run_mask_head
from detr_d2.explanation.feature_pictures import principal_colors, shrink
from detr_d2.explanation.heat import grey, heat, heat_over, signed_heat, tile
from detr_d2.explanation.merge import Merge
from detr_d2.explanation.payload import Payload
from detr_d2.explanation.recorded_pass import RecordedPass
from detr_d2.modeling import PanopticDetr
from detr_d2.utils.files import replacing
from detr_d2.visualization import image_grid, render_segments

ROWS = 4
# Keeps rare colours, such as the deep red of a small mask.
METHOD = Image.Quantize.MAXCOVERAGE
Rows = list[list[np.ndarray]]
# Of an image grid: rows of pictures, headings of the columns, captions, title.
Grid = tuple[Rows, list[str], list[str], str]


class Pictures:
    """Image grids of one recorded pass.

    Args:
        recorded: the pass.
        payload: its data, which say which queries are shown.
        width: of one picture, pixels.
    """

    def __init__(self, recorded: RecordedPass, payload: Payload, width: int = 200) -> None:
        self.recorded, self.trace, self.width = recorded, recorded.trace, width
        self.height = max(1, round(width * recorded.size[0] / recorded.size[1]))
        self.image = tile(recorded.picture, width, self.height)
        followed = payload.meta["followed"]
        best = sorted(followed, key=lambda q: -recorded.queries().scores[q].item())
        self.queries = self._different_classes(best)

    def _different_classes(self, ranked: list[int]) -> list[int]:
        """The best query of each class first, then the others, `ROWS` of them."""
        classes = self.recorded.queries().classes
        first = {int(classes[q]): q for q in reversed(ranked)}
        chosen = [q for q in ranked if first[int(classes[q])] == q]
        return [*chosen, *(q for q in ranked if q not in chosen)][:ROWS]

    def caption(self, query: int) -> str:
        """Name a query: number, class, score."""
        found = self.recorded.queries()
        name = self.recorded.palette.names[int(found.classes[query])]
        return f"query {query}: {name}, {100 * found.scores[query].item():.0f} %"

    def _tile(self, picture: np.ndarray | Tensor) -> np.ndarray:
        array = picture.numpy() if isinstance(picture, Tensor) else picture
        return tile(array, self.width, self.height)

    def features(self) -> Grid:
        """The image and its backbone features."""
        names = [name for name in ("res2", "res3", "res4", "res5") if name in self.trace.features]
        row = [self._colors(name) for name in names]
        shapes = [" x ".join(map(str, self.trace.get(name).shape)) for name in names]
        columns = ["image", *(name.capitalize() for name in names)]
        caption = "Principal components of " + ", ".join(shapes)
        return [[self.image, *row]], columns, [caption], "Backbone"

    def encoder(self) -> Grid:
        """What goes into the encoder and what comes out."""
        names = ["projected", "position", "encoded"]
        row = [self._colors(name) for name in names]
        shape = " x ".join(map(str, self.trace.get("encoded").shape))
        columns = ["projected", "position", "encoded"]
        return [row], columns, [f"Principal components, each {shape}"], "Encoder"

    def _colors(self, name: str) -> np.ndarray:
        return self._tile(principal_colors(shrink(self.trace.get(name).float())))

    def encoder_attention(self) -> Grid:
        """What a cell attends to, in every layer, mean over the heads."""
        height, width = self.trace.get("projected").shape[-2:]
        rows, captions = [], []
        for query in self.queries:
            x, y = self.trace.get("boxes")[query, :2].tolist()
            row, column = min(height - 1, int(y * height)), min(width - 1, int(x * width))
            pictures = [self._cross(self.image, (column + 0.5) / width, (row + 0.5) / height)]
            for call in self.trace.encoder:
                weights = call.weights([row * width + column])[0, :, 0].mean(0)
                pictures.append(heat_over(self.image, weights.view(height, width).numpy()))
            rows.append(pictures)
            captions.append(f"cell in row {row + 1}, column {column + 1}")
        layers = [f"layer {number + 1}" for number in range(len(self.trace.encoder))]
        return rows, ["cell", *layers], captions, "Encoder attention"

    def _cross(self, image: np.ndarray, x: float, y: float) -> np.ndarray:
        marked = image.copy()
        center = (round(x * self.width), round(y * self.height))
        for color, line in (((0, 0, 0), 4), ((255, 255, 255), 2)):
            cv2.drawMarker(marked, center, color, cv2.MARKER_CROSS, 18, line, cv2.LINE_AA)
        return marked

    def decoder_attention(self) -> Grid:
        """Where the queries look, in every decoder layer, and their boxes."""
        cells = self.trace.get("projected").shape[-2:]
        rows = []
        for query in self.queries:
            weights = [call.weights([query])[0, :, 0].mean(0) for call in self.trace.decoder_cross]
            maps = [heat_over(self.image, w.view(cells).numpy()) for w in weights]
            rows.append([self._box(query), *maps])
        layers = [f"layer {number + 1}" for number in range(len(self.trace.decoder_cross))]
        captions = [self.caption(query) for query in self.queries]
        return rows, ["box", *layers], captions, "Decoder attention"

    def _box(self, query: int) -> np.ndarray:
        x, y, w, h = self.trace.get("boxes")[query].tolist()
        size = np.array([self.width, self.height])
        corners = [
            (np.array(p) * size).round().astype(int).tolist()
            for p in ((x - w / 2, y - h / 2), (x + w / 2, y + h / 2))
        ]
        color = self.recorded.palette.colors[int(self.recorded.queries().classes[query])]
        picture = self.image.copy()
        for shade, line in (((0, 0, 0), 4), (color, 2)):
            cv2.rectangle(picture, corners[0], corners[1], shade, line, cv2.LINE_AA)
        return picture

    def bbox_attention(self) -> Grid:
        """The M maps of some queries."""
        maps = self.trace.get("bbox_attention")[self.queries]
        rows = [[self._tile(heat(head.numpy())) for head in query] for query in maps]
        columns = [f"map {number + 1}" for number in range(maps.shape[1])]
        captions = [self.caption(query) for query in self.queries]
        return rows, columns, captions, "Bbox attention"

    def fpn(self) -> Grid | None:
        """Every stage of the mask head, mean over channels; None for an unknown head."""
        assert isinstance(self.recorded.model, PanopticDetr)
        logits, stages = run_mask_head(self.recorded.model, self.trace, self.queries)
        if stages is None:
            return None
        rows: Rows = []
        for number in range(len(self.queries)):
            maps = [maps[number].mean(0).numpy() for maps in stages.convolved]
            shown = [grey(values) for values in maps] + [signed_heat(logits[number].numpy())]
            rows.append([self._tile(picture) for picture in shown])
        columns = [" x ".join(map(str, maps.shape[1:])) for maps in stages.convolved]
        columns.append("logits")
        captions = [self.caption(query) for query in self.queries]
        return rows, columns, captions, "FPN-style CNN"

    def merge(self) -> Grid:
        """From mask logits to the panoptic map."""
        model = self.recorded.model
        assert isinstance(model, PanopticDetr)
        ids, segments = self.recorded.output["panoptic_seg"]
        kept = self.recorded.competing(model.postprocess.score_thresh)
        best, margin = torch.zeros(self.recorded.size), torch.zeros(self.recorded.size)
        if len(kept) > 1:
            logits, _ = run_mask_head(model, self.trace, kept)
            values = Merge(self.recorded, kept, logits).masks(logits, kept).topk(2, 0).values
            best, margin = values[0], values[0] - values[1]
        drawn = render_segments(
            self.recorded.picture, ids.cpu().numpy(), segments, self.recorded.palette
        )
        shown = [signed_heat(best.numpy()), heat(margin.clamp(max=10).numpy(), "viridis"), drawn]
        row = [self.image, *(self._smooth(picture) for picture in shown)]
        columns = ["image", "largest logit", "margin", "panoptic"]
        caption = f"{len(kept)} queries compete, {len(segments)} segments"
        return [row], columns, [caption], "Merge"

    def _smooth(self, picture: np.ndarray) -> np.ndarray:
        way = cv2.INTER_CUBIC if picture.shape[1] < self.width else cv2.INTER_AREA
        return cv2.resize(picture, (self.width, self.height), interpolation=way)


# The image grids by the names of their files, in order; the last are of models with masks.
STEPS: dict[str, Callable[[Pictures], Grid | None]] = {
    "1_backbone": Pictures.features,
    "2_encoder": Pictures.encoder,
    "3_encoder_attention": Pictures.encoder_attention,
    "4_decoder_attention": Pictures.decoder_attention,
    "5_bbox_attention": Pictures.bbox_attention,
    "6_fpn": Pictures.fpn,
    "7_merge": Pictures.merge,
}
STEPS_OF_MASKS = {"5_bbox_attention", "6_fpn", "7_merge"}


def write_pictures(
    recorded: RecordedPass,
    payload: Payload,
    folder: str | Path,
    width: int = 200,
    colors: int | None = None,
) -> list[Path]:
    """Write every step as a PNG file into a folder; returns the files.

    Args:
        recorded: the pass; payload: its data.
        width: of one picture in the grids, pixels.
        colors: of each file, for small ones; None = all.
    """
    pictures = Pictures(recorded, payload, width)
    written = []
    has_masks = isinstance(recorded.model, PanopticDetr)
    for name, draw in STEPS.items():
        grid = draw(pictures) if has_masks or name not in STEPS_OF_MASKS else None
        if grid is None:
            continue
        rows, columns, captions, title = grid
        path = Path(folder) / f"{name}.png"
        picture = Image.fromarray(image_grid(rows, columns, captions=captions, title=title))
        with replacing(path) as temporary:
            (picture.quantize(colors, METHOD) if colors else picture).save(temporary, optimize=True)
        written.append(path)
    return written
