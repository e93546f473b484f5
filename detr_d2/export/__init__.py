"""The model out of PyTorch: ONNX graphs, how far they agree, and its parts compiled in place."""

from detr_d2.export.compile import compile_parts
from detr_d2.export.onnx_files import export_onnx

__all__ = ["compile_parts", "export_onnx"]
