"""Smaller weights for the exported graphs. Whether they may be used is for `parity.py` to say."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

PRECISIONS = ("fp32", "fp16", "int8")


def reducer(precision: str) -> Callable[[Any], Any] | None:
    """Return the function that changes an `onnx.ModelProto`; None for fp32.

    - "fp16": weights and arithmetic of the convolutions in 16 bits, all else in 32: of
      other DETRs it is known that the transformer goes wrong in 16 bits.
    - "int8": weights of the linear layers in 8 bits, one scale a channel; their inputs are rounded
      at run time. Convolutions, which lose their meaning that way, stay in fp32.

    Raises:
        ValueError: an unknown name.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"--precision {precision}; allowed: {', '.join(PRECISIONS)}")
    return {"fp32": None, "fp16": _convolutions_fp16, "int8": _linear_int8}[precision]


def _convolutions_fp16(model: Any) -> Any:
    from onnxruntime.transformers.float16 import convert_float_to_float16

    others = sorted({node.op_type for node in model.graph.node} - {"Conv", "Relu", "MaxPool"})
    return convert_float_to_float16(
        model, keep_io_types=True, disable_shape_infer=True, op_block_list=others
    )


def _linear_int8(model: Any) -> Any:
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "int8.onnx")
        quantize_dynamic(
            model,
            path,
            op_types_to_quantize=["MatMul", "Gemm"],
            per_channel=True,
            weight_type=QuantType.QInt8,
        )
        return onnx.load(path)
