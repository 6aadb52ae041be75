"""Trained models as ONNX graphs in one folder, and running them without PyTorch."""
