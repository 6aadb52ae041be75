"""Training curves in TensorBoard: a callback for muomni."""
