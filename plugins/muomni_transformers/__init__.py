"""Pretrained encoders of others, from folders in Hugging Face's format. Importing this package imports nothing else."""
