"""Training in several processes on torch.distributed: how they start, find and lose each other, and what they reduce.

Every process takes some of the micro-batches of each step, which do not depend on how many there are: a batch is a pure
function of step and micro-batch. So the same recipe gives the same training on any number of processes, and a
checkpoint continues on any other number.
"""
