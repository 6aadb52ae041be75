"""Speech programs of others that make training data, behind one interface."""
