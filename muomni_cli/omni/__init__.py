"""Fusion of media and text in one sequence, the same in training, chat, trace and export."""
