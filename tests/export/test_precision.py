"""Smaller weights, and the gate before them."""

import numpy as np
import pytest
from PIL import Image

from detr_d2.export.parity import Parity
from detr_d2.export.precision import reducer


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_reduced_graph_is_smaller_and_close(exported, runner, precision):
    import onnx
    import onnxruntime

    path = exported / "onnx" / "detect.onnx"
    content = reducer(precision)(onnx.load(path)).SerializeToString()
    assert len(content) < path.stat().st_size
    model = runner.PanopticModel(exported / "onnx")
    image = {"image": model.resized(Image.open(exported / "images" / "large.jpg"))}
    (boxes,) = onnxruntime.InferenceSession(content).run(["boxes"], image)
    expected = model.detect.run(["boxes"], image)[0]
    assert np.abs(boxes - expected).max() < 0.05
    assert np.abs(boxes - expected).max() > 0, "something was rounded"


def test_unknown_precision():
    with pytest.raises(ValueError, match="int4; allowed: fp32, fp16, int8"):
        reducer("int4")


class Lost(Parity):
    def loss(self):
        return self.differences.get("loss")


@pytest.mark.parametrize(
    ("loss", "message"), [(0.6, "loses 0.60 points"), (None, "nothing was judged")]
)
def test_gate(export_tool, loss, message):
    check = export_tool.check_loss
    parity = Lost([], {} if loss is None else {"loss": loss})
    check("fp32", parity)
    with pytest.raises(ValueError, match=message):
        check("int8", parity)


def test_gate_lets_a_small_loss_pass(export_tool):
    export_tool.check_loss("int8", Lost([], {"loss": 0.5}))
