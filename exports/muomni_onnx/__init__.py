"""ONNX export of trained models, the bundle format, and the runtime that runs bundles without PyTorch."""
