"""The exported files: free sizes, the same result as PyTorch, and what cannot be exported."""

import json
import logging
from contextlib import nullcontext, suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_model import build, tiny_cfg

from detr_d2.engine import Predictor
from detr_d2.export import onnx_files


@pytest.fixture(scope="module")
def both(exported, runner):
    return Predictor.from_run(exported / "run"), runner.PanopticModel(exported / "onnx")


def test_files_and_settings(exported, both):
    names = {path.name for path in (exported / "onnx").iterdir()}
    expected = {"detect.onnx", "masks.onnx", "categories.json", "parity.json", "run_onnx.py"}
    assert names == expected
    assert both[1].settings == {
        "min_size": 96,
        "max_size": 150,
        "score_thresh": 0.0,
        "min_area": 5,
    }
    assert [c["id"] for c in both[1].categories] == [7, 9, 30, 31, 200]


def test_graphs_take_any_size_and_are_read_by_old_runtimes(exported):
    import onnx

    for name in ("detect.onnx", "masks.onnx"):
        model = onnx.load(exported / "onnx" / name)
        onnx.checker.check_model(model, full_check=True)
        assert model.ir_version <= 10
        assert {o.version for o in model.opset_import if o.domain == ""} == {18}
    image = onnx.load(exported / "onnx" / "detect.onnx").graph.input[0].type.tensor_type
    height, width, channels = image.shape.dim
    assert height.dim_param and width.dim_param and height.dim_param != width.dim_param
    assert channels.dim_value == 3


def test_parity_file(exported):
    parity = json.loads((exported / "onnx" / "parity.json").read_text())
    assert parity["images"] == 5
    assert parity["segments"]["pytorch"] == parity["segments"]["onnx"] > 5
    assert parity["share_of_equal_pixels"] > 0.999
    assert parity["pq_of_onnx_against_pytorch"] > 99 < parity["pq_of_pytorch_against_onnx"]
    assert parity["pq_on_ground_truth"] is None
    assert parity["largest_differences"]["classes"] == 0
    assert max(parity["largest_differences"][n] for n in ("scores", "boxes", "masks")) < 1e-3


@pytest.mark.parametrize("size", [(31, 47), (96, 96), (64, 150), (149, 33), (97, 201), (500, 20)])
@pytest.mark.parametrize("kept", ["none", "one", "many"])
def test_same_map_and_segments_as_pytorch_at_unseen_sizes(both, size, kept):
    predictor, model = both
    generator = np.random.default_rng(1)
    coarse = generator.integers(0, 256, (5, 7, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC)
    scores = model.detect.run(["scores"], {"image": model.resized(image)})[0]
    best = np.sort(scores)[::-1]
    thresh = {"none": 1.0, "one": float(best[:2].mean()), "many": 0.0}[kept]
    model.settings["score_thresh"] = predictor.model.postprocess.score_thresh = thresh
    try:
        expected_ids, expected = predictor(np.asarray(image))["panoptic_seg"]
        ids, segments = model(image)
    finally:
        model.settings["score_thresh"] = predictor.model.postprocess.score_thresh = 0.0
    assert ids.shape == size and ids.dtype == np.int32
    assert (ids == expected_ids.numpy()).mean() > 0.998
    assert len(segments) == len(expected)
    # On the narrowest image only stuff of one class is left.
    many = len(segments) >= (1 if size == (500, 20) else 2)
    assert {"none": not segments, "one": len(segments) == 1, "many": many}[kept]
    for found, wanted in zip(segments, expected, strict=True):
        assert found["category_id"] == model.categories[wanted["category_id"]]["id"]
        assert found["score"] == pytest.approx(wanted["score"], abs=1e-5)
        assert found["area"] == (ids == found["id"]).sum()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"META_ARCHITECTURE": "Detr"}, "META_ARCHITECTURE is Detr; .* PanopticDetr"),
        ({"DETR.PANOPTIC_ON": False}, "PANOPTIC_ON is False; allowed for ONNX: True"),
        ({"DETR.POSTPROCESS.RESIZE": "ids"}, "RESIZE is 'ids'; allowed for ONNX: 'masks'"),
        ({"DETR.POSTPROCESS.UNITE_STUFF": "before_filtering"}, "allowed .* 'after_filtering'"),
    ],
)
def test_what_only_pytorch_does_is_rejected(keys, message, tmp_path, monkeypatch):
    # The packages are looked for first; this needs none of them.
    monkeypatch.setattr(onnx_files, "NEEDED", ())
    cfg = tiny_cfg()
    cfg.merge_from_list([x for key, value in keys.items() for x in (f"MODEL.{key}", value)])
    with pytest.raises(ValueError, match=message):
        onnx_files.export_onnx(build(cfg), cfg, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_image_without_ground_truth_is_rejected(export_tool, tmp_path):
    path = tmp_path / "panoptic.json"
    images = [{"id": 7, "file_name": "seen.jpg", "height": 4, "width": 6}]
    path.write_text(json.dumps({"images": images, "annotations": [], "categories": []}))
    read = export_tool.read_ground_truth
    assert read(str(tmp_path), str(path), [Path("a/seen.png")]).content["images"] == images
    with pytest.raises(ValueError, match=r"panoptic.json has no image other.png"):
        read(str(tmp_path), str(path), [Path("a/seen.png"), Path("a/other.png")])


def test_missing_packages_are_named_with_a_command(monkeypatch):
    spec = {"onnx": None, "onnxscript": None}
    monkeypatch.setattr(onnx_files.importlib.util, "find_spec", lambda name: spec.get(name, 1))
    message = "needs onnx, onnxscript: pip install -r requirements/onnx.txt"
    with pytest.raises(ImportError, match=message):
        onnx_files.check_can_export(torch.nn.Linear(1, 1))


def test_a_size_that_the_exporter_fixed_is_an_error():
    onnx = pytest.importorskip("onnx")
    for shape in ([96, "w", 3], ["h", "2*h - 1", 3], ["h", "h", 3]):
        value = onnx.helper.make_tensor_value_info("image", onnx.TensorProto.UINT8, shape)
        model = SimpleNamespace(graph=SimpleNamespace(input=[value]))
        with pytest.raises(RuntimeError, match="fixed sizes of 'image'"):
            onnx_files._check_sizes_are_free(model)


@pytest.mark.parametrize(
    ("name", "shape", "free"),
    [
        ("image", ["h", "w", 3], True),
        ("embeddings", ["k", 32], True),
        ("embeddings", [3, 32], False),
        ("embeddings", ["k", "d"], False),
        ("projected", [1, 32, "h", "w"], True),
        ("projected", [1, 32, "h", 5], False),
    ],
)
def test_sizes_of_images_and_the_number_of_queries_are_free(name, shape, free):
    dims = [SimpleNamespace(dim_param=d if isinstance(d, str) else "") for d in shape]
    tensor = SimpleNamespace(shape=SimpleNamespace(dim=dims))
    value = SimpleNamespace(name=name, type=SimpleNamespace(tensor_type=tensor))
    model = SimpleNamespace(graph=SimpleNamespace(input=[value]))
    with nullcontext() if free else pytest.raises(RuntimeError, match=f"sizes of '{name}'"):
        onnx_files._check_sizes_are_free(model)


def test_settings_are_those_of_the_config_and_the_model():
    cfg = tiny_cfg()
    cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST = 111, 222
    cfg.MODEL.DETR.SCORE_THRESH, cfg.MODEL.DETR.MIN_AREA = 0.37, 44
    settings = {"min_size": 111, "max_size": 222, "score_thresh": 0.37, "min_area": 44}
    assert onnx_files._settings(build(cfg), cfg) == settings


def test_remarks_of_a_package_are_silenced_only_for_a_while():
    logger = logging.getLogger("onnxscript_of_a_test")
    logger.setLevel(logging.DEBUG)
    with suppress(KeyError), onnx_files._quiet(logger.name):
        assert not logger.isEnabledFor(logging.WARNING) and logger.isEnabledFor(logging.ERROR)
        raise KeyError
    assert logger.level == logging.DEBUG


def test_a_graph_that_cannot_be_written_leaves_the_former(tmp_path):
    class Broken:
        def SerializeToString(self):
            raise MemoryError

    (tmp_path / "masks.onnx").write_bytes(b"before")
    with pytest.raises(MemoryError):
        onnx_files._write(Broken(), tmp_path / "masks.onnx")
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"before"]
