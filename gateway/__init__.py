"""A high-throughput model-serving gateway in front of ONNX Runtime."""

__version__ = "0.1.0"
