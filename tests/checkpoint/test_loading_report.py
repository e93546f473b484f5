"""The table of a loading: one line per part, state and note."""

from detr_d2.checkpoint.loading_report import LoadingReport, TensorStatus

STATUSES = [
    TensorStatus("unused", "fc.weight", (2, 3), "not in the model"),
    TensorStatus("loaded", "transformer.encoder.layers.0.a", (2, 5)),
    TensorStatus("loaded", "transformer.encoder.layers.1.a", (2, 5)),
    TensorStatus("loaded", "transformer.decoder.a", (7,)),
    TensorStatus("re-initialised", "box_head.class_embed.a", (), "other", (4, 1)),
    TensorStatus("re-initialised", "box_head.bbox_embed.a", (4,), "other", ()),
    *[TensorStatus("loaded", f"backbone.{i}", (i,)) for i in (1, 2, 3, 4)],
    *[TensorStatus("loaded", f"neck.{i}", (i,)) for i in (1, 2, 3, 4, 5)],
]


def test_lines_are_parts_with_counts_and_numbers_and_shapes():
    head, *lines = LoadingReport("x.pth", "ours", STATUSES).table().splitlines()
    assert head == "x.pth (ours): 12 loaded, 2 re-initialised, 1 unused"
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if "│" in line]
    assert cells[0] == ["", "part", "tensors", "numbers", "shapes", "note"]
    assert cells[1:] == [
        ["loaded", "transformer.encoder", "2", "20", "2x5", ""],
        ["loaded", "transformer.decoder", "1", "7", "7", ""],
        ["loaded", "backbone", "4", "10", "1, 2, 3, 4", ""],
        ["loaded", "neck", "5", "15", "1, 2, 3, 4, ...", ""],
        ["re-initialised", "box_head.class_embed", "1", "1", "1 (there 4x1)", "other"],
        ["re-initialised", "box_head.bbox_embed", "1", "4", "4 (there 1)", "other"],
        ["unused", "fc", "1", "6", "2x3", "not in the model"],
    ]
