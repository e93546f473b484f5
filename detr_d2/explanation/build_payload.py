"""Pack a recorded pass into the page's data; `payload` describes it."""

from typing import Any

from detr_d2.explanation import facts as measured
from detr_d2.explanation import mask_sections, transformer_sections
from detr_d2.explanation.capture import run_mask_head
from detr_d2.explanation.merge import Merge
from detr_d2.explanation.packing import Packer
from detr_d2.explanation.payload import SCHEMA, Payload
from detr_d2.explanation.questions import MISUNDERSTANDINGS, QUESTIONS, fill
from detr_d2.explanation.recorded_pass import RecordedPass, choose_candidates, choose_followed
from detr_d2.explanation.stops import at_stride, stop_code, stops_of
from detr_d2.explanation.transformer_sections import Detail
from detr_d2.modeling import FPNMaskHead, PanopticDetr

# Bytes of all base64 texts together; the page adds its own code to them.
BUDGET = 4_800_000
# From much to little: the first that fits into the budget is taken.
DETAILS = (
    Detail(error=0.01, logit_step=1 / 64, candidates=32, followed=16, encoder_layers=99),
    Detail(error=0.02, logit_step=1 / 32, candidates=24, followed=16, encoder_layers=99),
    Detail(error=0.04, logit_step=1 / 16, candidates=20, followed=16, encoder_layers=99),
    Detail(error=0.06, logit_step=1 / 8, candidates=16, followed=15, encoder_layers=99),
    Detail(error=0.06, logit_step=1 / 8, candidates=16, followed=12, encoder_layers=2),
    Detail(error=0.06, logit_step=1 / 8, candidates=16, followed=8, encoder_layers=1),
)


def build_payload(recorded: RecordedPass, budget: int = BUDGET) -> Payload:
    """Pack a recorded pass, in as much detail as fits.

    Args:
        recorded: one image's pass.
        budget: characters of all texts together. The least detail is taken even if it is larger.
    """
    for detail in DETAILS:
        payload = _build(recorded, detail)
        if payload.size <= budget:
            break
    return payload


def _build(recorded: RecordedPass, detail: Detail) -> Payload:
    packer = Packer()
    candidates, lowest = choose_candidates(recorded, detail.candidates)
    followed = choose_followed(recorded, candidates, detail.followed)
    kept = recorded.competing(recorded.model.postprocess.score_thresh)
    facts = measured.transformer_facts(recorded.model, recorded.trace)
    meta: dict[str, Any] = {
        "schema": SCHEMA,
        "title": recorded.title,
        "model": _model_section(recorded),
        "image": transformer_sections.image_section(recorded),
        "categories": _categories(recorded),
        "features": transformer_sections.feature_section(recorded, packer),
        **transformer_sections.query_section(recorded, packer),
        "candidates": [
            {
                "query": query,
                "kept": query in kept,
                "follow": followed.index(query) if query in followed else None,
            }
            for query in candidates
        ],
        "followed": followed,
        "encoder": transformer_sections.encoder_section(recorded, packer, detail),
        "decoder": transformer_sections.decoder_section(recorded, packer, followed),
    }
    if isinstance(recorded.model, PanopticDetr):
        meta |= _mask_meta(recorded.model, recorded, packer, detail, candidates, followed)
        meta["merge"]["lowest_threshold"] = lowest
        facts |= meta.pop("mask_facts")
    meta["facts"] = facts
    meta |= _texts(facts, recorded.model.stride) | _walk(recorded, meta, packer)
    meta["arrays"] = {name: array.description for name, array in packer.arrays.items()}
    return Payload(meta, {name: array.text for name, array in packer.arrays.items()})


def _mask_meta(
    model: PanopticDetr,
    recorded: RecordedPass,
    packer: Packer,
    detail: Detail,
    candidates: list[int],
    followed: list[int],
) -> dict[str, Any]:
    """Sections that a model with masks has; `mask_facts` are its facts."""
    # Where no query is a candidate, a query is followed nevertheless.
    run = candidates or followed
    logits, stages = run_mask_head(model, recorded.trace, run)
    merge = Merge(recorded, candidates, logits[: len(candidates)])
    packer.add(
        "mask-logits",
        merge.logits,
        "mask logits: candidate x pixel of H/4 x W/4",
        step=merge.rounding_step(detail.logit_step),
        delta=True,
    )
    kept = merge.kept(model.postprocess.score_thresh)
    segments = recorded.output["panoptic_seg"][1]
    facts = measured.attention_facts(model, recorded.trace, followed[0])
    facts |= measured.head_facts(model, recorded.trace)
    facts |= measured.merge_facts(merge.steps(), merge.masks(merge.logits, kept), segments)
    facts |= {"score_thresh": model.postprocess.score_thresh, "candidates": len(candidates)}
    rows = [run.index(query) for query in followed]
    return {
        "bbox_attention": mask_sections.attention_section(recorded, packer, followed),
        "concat": mask_sections.concat_section(model, recorded, packer),
        "fpn": mask_sections.fpn_section(model, stages, rows, packer),
        "masks": {"logits": "mask-logits", "shape": list(logits.shape[-2:])},
        "merge": mask_sections.merge_section(merge, packer),
        "mask_facts": facts,
    }


def _model_section(recorded: RecordedPass) -> dict[str, Any]:
    model, trace = recorded.model, recorded.trace
    attention = getattr(model, "bbox_attention", None)
    layers = model.transformer.encoder.layers
    return {
        "meta_architecture": type(model).__name__,
        "backbone": type(model.backbone).__name__,
        "weights": recorded.weights,
        "parameters": sum(p.numel() for p in model.parameters()),
        "d": trace.get("projected").shape[0],
        "queries": len(trace.get("logits")),
        "classes": model.num_classes,
        "stride": model.stride,
        "heads": trace.encoder[0].module.num_heads if trace.encoder else 0,
        "maps": getattr(attention, "num_maps", 0),
        "normalize": getattr(attention, "normalize", None),
        "encoder_layers": len(trace.encoder),
        "decoder_layers": len(trace.decoder_cross),
        "pre_norm": bool(len(layers) and layers[0].pre_norm),
    }


def _categories(recorded: RecordedPass) -> list[dict[str, Any]]:
    palette = recorded.palette
    return [
        {"name": name, "color": list(color), "isthing": index in palette.thing_ids}
        for index, (name, color) in enumerate(zip(palette.names, palette.colors, strict=True))
    ]


def _texts(facts: dict[str, Any], stride: int) -> dict[str, Any]:
    """Questions and misunderstandings, with this pass's numbers filled in."""

    def said(text: str) -> str:
        return at_stride(text, stride)

    return {
        "questions": [
            {
                "id": q.id,
                "stops": list(q.stops),
                "title": said(q.title),
                "answer": said(q.answer),
                "seen": fill(q.seen, facts),
            }
            for q in QUESTIONS
        ],
        "misunderstandings": [
            {"id": m.id, "stop": m.stop, "said": m.said, "fact": said(m.fact), "seen": seen}
            for m in MISUNDERSTANDINGS
            if (seen := fill(m.seen, facts))
        ],
    }


def _walk(recorded: RecordedPass, meta: dict[str, Any], packer: Packer) -> dict[str, Any]:
    """The stops, with actual shapes and code."""
    model = recorded.model
    known = isinstance(getattr(model, "mask_head", None), FPNMaskHead)
    stops = stops_of(model)
    shapes = _shapes(recorded, meta)
    pictures = _pictures(meta)
    code: dict[str, Any] = {}
    entries = []
    for stop in stops:
        links = stop_code(stop, model)
        code |= {link["id"]: link for link in links}
        entries.append(
            {
                "id": stop.id,
                "title": stop.title,
                "text": stop.text,
                "symbol": stop.symbol_of(recorded.trace),
                "shape": shapes.get(stop.id),
                "known": known or stop.id not in ("concat", "fpn"),
                "from": list(stop.sources),
                "to": [other.id for other in stops if stop.id in other.sources],
                "code": [link["id"] for link in links],
                "arrays": [name for name in pictures.get(stop.id, []) if name in packer.arrays],
                "picture": meta["features"].get(stop.id, {}).get("rgb"),
            }
        )
    return {"stops": entries, "code": code}


def _shapes(recorded: RecordedPass, meta: dict[str, Any]) -> dict[str, list[int]]:
    """Actual shapes of the stops' tensors, for all queries."""
    trace = recorded.trace
    names = {"image": "images", "scores": "logits"}
    names |= {n: n for n in ("projected", "position", "encoded", "queries", "embeddings", "boxes")}
    names |= {name: name for name in trace.features}
    shapes = {stop: list(trace.get(name).shape) for stop, name in names.items()}
    if "masks" in meta:
        attention = list(trace.get("bbox_attention").shape)
        queries, size = len(trace.get("logits")), list(recorded.size)
        shapes |= {"bbox_attention": attention, "merge": size, "panoptic": size}
        shapes |= {"masks": [queries, *meta["masks"]["shape"]]}
        if stages := meta["fpn"]["stages"]:
            concat = meta["concat"]["d"] + meta["concat"]["maps"]
            shapes |= {"concat": [queries, concat, *attention[2:]]}
            shapes |= {"fpn": [queries, stages[-1]["channels"], *stages[-1]["shape"]]}
    return shapes


def _pictures(meta: dict[str, Any]) -> dict[str, list[str]]:
    """Names of the arrays that show each stop."""
    pictures = {
        name: [shown["rgb"], shown["channels"], shown["norm"]]
        for name, shown in meta["features"].items()
    }
    layers = [name for layer in meta["encoder"]["layers"] for name in layer.values()]
    pictures["encoded"] += [name for name in layers if isinstance(name, str)]
    pictures |= {
        "queries": ["queries"],
        "embeddings": ["embeddings", "decoder-cross", "decoder-self"],
    }
    if "masks" in meta:
        stages = [stage["maps"] for stage in meta["fpn"]["stages"]]
        pictures |= {
            "bbox_attention": ["bbox-attention"],
            "concat": ["concat-image", "bbox-attention"],
            "fpn": [*stages, *(lateral["rgb"] for lateral in meta["fpn"]["laterals"])],
            "masks": ["mask-logits"],
            "merge": ["mask-logits"],
            "panoptic": ["panoptic-ids"],
        }
    return pictures
