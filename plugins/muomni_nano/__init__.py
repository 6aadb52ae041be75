"""nano, the model that comes with muomni: what runs, what goes on training, and what was measured of it."""
