"""`muomni trace`: the steps of an answer with their shapes, times and statistics, measured on the real tensors."""
