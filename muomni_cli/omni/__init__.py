"""Fusion: pictures, sounds and text in one sequence, the same in training, chat, trace and export."""
