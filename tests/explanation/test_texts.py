import pytest
import torch
from documents import ROOT
from tiny_explanation import PALETTE, tiny_image, tiny_predictor

from detr_d2.explanation import capture
from detr_d2.explanation.build_payload import build_payload
from detr_d2.explanation.code_links import code_link
from detr_d2.explanation.facts import head_facts, merge_facts, transformer_facts
from detr_d2.explanation.merge import MergeStep
from detr_d2.explanation.questions import MISUNDERSTANDINGS, QUESTIONS, fill
from detr_d2.explanation.recorded_pass import record_pass
from detr_d2.explanation.stops import STOPS
from detr_d2.modeling import Detr, FPNMaskHead


def test_links_lead_to_the_lines():
    link = code_link(FPNMaskHead._decode)
    lines = (ROOT / link["file"]).read_text().splitlines()[link["start"] - 1 : link["end"]]
    assert lines[0].strip().startswith("def _decode(") and "return self.output" in lines[-1]
    assert link["source"].splitlines()[0] == lines[0].strip()
    assert link["id"] == "detr_d2/modeling/mask_head.py::FPNMaskHead._decode"


def test_a_part_is_one_statement():
    link = code_link(Detr.forward_detr, "position = sine_position_encoding(")
    assert link["source"].startswith("position = sine_position_encoding(") and link[
        "source"
    ].endswith(")")
    assert link["end"] - link["start"] == 2
    with pytest.raises(ValueError, match="has no line with 'nonsense'"):
        code_link(Detr.forward_detr, "nonsense")


def test_a_part_ends_where_all_brackets_are_closed():
    link = code_link(capture.run_mask_head, "inputs = (")
    assert link["source"].splitlines()[1:] == [
        '    trace.get("projected")[None].to(like),',
        "    [attention.to(like)],",
        "    [feature[:1].to(like) for feature in trace.head_features],",
        ")",
    ]
    assert link["id"] == "detr_d2/explanation/capture.py::run_mask_head#inputs = ("
    lines = (ROOT / link["file"]).read_text().splitlines()
    assert lines[link["start"] - 1].strip() == "inputs = (" and lines[link["end"] - 1] == "    )"
    # Of several lines the first; the function itself, not what torch.no_grad made of it.
    found = code_link(capture.run_mask_head, "hooks.callback(")["start"]
    assert found == min(
        i for i, line in enumerate(lines, 1) if "hooks.callback(handle" in line and i > link["end"]
    )
    assert "norm.register" in code_link(capture.run_mask_head, "handle = ")["source"]
    assert code_link(capture.run_mask_head)["source"].startswith("@torch.no_grad()")


def test_foreign_code_is_named_by_its_file_alone():
    link = code_link(torch.nn.Linear.forward)
    assert (link["file"], link["id"]) == ("linear.py", "linear.py::Linear.forward")


def test_a_missing_fact_leaves_the_sentence_away():
    assert fill("{a:.1f} of {b}", {"a": 1.25, "b": "x"}) == "1.2 of x"
    assert fill("{a} of {b}", {"a": 1}) == ""
    assert fill("plain", {}) == "plain"


def test_texts_name_stops_that_exist():
    stops = {stop.id for stop in STOPS}
    assert {m.stop for m in MISUNDERSTANDINGS} <= stops
    assert {stop for q in QUESTIONS for stop in q.stops} <= stops
    assert {source for stop in STOPS for source in stop.sources} <= stops


def test_the_facts_of_a_pass_refute_the_misunderstandings(recorded):
    facts = build_payload(recorded).meta["facts"]
    assert facts["encoder_change"] > 0.1 and facts["encoder_cosine"] < 0.99
    assert facts["d"] == 32 and facts["concat_channels"] == 40 and facts["res5_channels"] == 128
    assert facts["attention_parameters"].count("`") == 8, "queries and keys, weight and bias"
    assert facts["joint_sum"] == pytest.approx(1, abs=1e-5)
    assert facts["added_channels"] == "16, 8, 4"
    assert facts["concatenated_channels"] == "16 + 64, 8 + 32, 4 + 16"
    assert facts["last_channels"] == 1 and facts["last_weight_shape"] == "1 x 2 x 3 x 3"
    assert facts["res5_shape"] == "128 x 3 x 5"
    assert 0 <= facts["overlap_share"] <= 1 and 0 <= facts["uncovered_share"] <= 1


def test_facts_of_the_transformer(recorded):
    facts = transformer_facts(recorded.model, recorded.trace)
    projected, encoded = recorded.trace.get("projected"), recorded.trace.get("encoded")
    change = (encoded - projected).square().sum().sqrt() / projected.square().sum().sqrt()
    assert facts["encoder_change"] == pytest.approx(change.item(), rel=1e-5)
    cosine = (encoded * projected).sum(0) / (encoded.norm(dim=0) * projected.norm(dim=0))
    assert facts["encoder_cosine"] == pytest.approx(cosine.mean().item(), abs=1e-5)
    assert (facts["cells"], facts["queries"], facts["encoder_layers"]) == (15, 7, 2)
    assert (facts["network_size"], facts["projected_shape"]) == ("96 x 133", "32 x 3 x 5")
    assert facts["embeddings_shape"] == "7 x 32"
    facts = head_facts(recorded.model, recorded.trace)
    assert facts["stage_channels"] == "40 -> 40 -> 16 -> 8 -> 4 -> 2 -> 1"
    assert facts["stage_sizes"] == "3 x 5 -> 3 x 5 -> 6 x 9 -> 12 x 17 -> 24 x 34"


def test_facts_of_a_merge():
    # Pixels with two masks above 0, one, none, and one that is 0 itself.
    masks = torch.tensor([[[1.0, 3.0, -1.0, 0.0]], [[0.25, -1.0, -2.0, -1.0]]])
    steps = [
        MergeStep([3, 4, 7, 9], [0, 3, 1, 0], [3, 7, 9], torch.tensor([[4, 4, 7, 4]])),
        # Only the argmax after it leaves this one nothing.
        MergeStep([4, 8], [4, 0], [8], torch.tensor([[4, 4, 4, 4]])),
    ]
    assert merge_facts(steps, masks, ["one"]) == {
        "above_threshold": 2,
        "dropped": 4,
        "reassigned_pixels": 1,
        "segments": 1,
        "overlap_share": 0.25,
        "uncovered_share": 0.5,
    }
    nobody = MergeStep([], [], [], None)
    assert merge_facts([steps[0], nobody], masks, [])["reassigned_pixels"] == 0
    assert merge_facts([], masks, [])["dropped"] == 0


def test_per_head_maps_add_up_to_one_each():

    predictor = tiny_predictor()
    predictor.model.bbox_attention.normalize = "per_head"
    facts = build_payload(record_pass(predictor, tiny_image(), PALETTE)).meta["facts"]
    assert facts["joint_sum"] == pytest.approx(8, abs=1e-4)
    assert facts["head_sums"] == ", ".join(["1.00"] * 8)


def test_a_dilated_model_with_points_is_not_told_as_the_published_one():
    predictor = tiny_predictor(dilation=2, REFERENCE_POINTS=True)
    meta = build_payload(record_pass(predictor, tiny_image(), PALETTE)).meta
    stops = {stop["id"]: stop for stop in meta["stops"]}
    assert meta["model"]["stride"] == 16
    assert stops["res5"]["symbol"] == "128 x H/16 x W/16" and stops["res5"]["shape"] == [128, 6, 9]
    assert "16 x 16 pixels" in stops["res5"]["text"]
    assert stops["bbox_attention"]["symbol"] == "N x M x H/16 x W/16"
    assert stops["encoded"]["symbol"] == "d x H/16 x W/16"
    assert "point of the image" in stops["queries"]["text"]
    assert "relative to the queries' points" in stops["boxes"]["text"]
    texts = [q["title"] + q["answer"] for q in meta["questions"]]
    texts += [m["fact"] for m in meta["misunderstandings"]]
    assert not any("/32" in text or "32 x 32" in text for text in texts)
    assert texts[0].startswith("Where does the d x H/16 x W/16 encoded image come from?")


def test_the_published_model_has_no_points_and_cells_of_32_pixels(recorded):
    meta = build_payload(recorded).meta
    stops = {stop["id"]: stop for stop in meta["stops"]}
    assert meta["model"]["stride"] == 32
    assert stops["encoded"]["symbol"] == "d x H/32 x W/32"
    assert not any("point" in stops[name]["text"] for name in ("queries", "boxes"))
