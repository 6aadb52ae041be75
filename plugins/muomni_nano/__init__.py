"""nano, the model that ships with muomni: its bundle, its run for further training, and its scores."""
