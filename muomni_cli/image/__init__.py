"""Picture files, as encoders of images read them."""
