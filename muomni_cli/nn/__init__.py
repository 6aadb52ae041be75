"""PyTorch modules shared by several parts: transformer, streaming convolutions, export forms."""
