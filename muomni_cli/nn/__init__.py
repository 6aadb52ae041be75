"""PyTorch modules that several parts are built from: transformer, streaming convolutions, export forms."""
