"""What ``muomni plugins check`` and :mod:`muomni_cli.testing` do: checks, kind by kind, tried on the smallest part that
a declaration allows. Knows declarations and protocols, no part by name.

``checks`` says which checks there are, ``examine`` tries them, ``subject`` is the part on trial. One file a kind holds
what its protocol promises; ``common`` holds what all parts do, and ``modules`` what all that are of PyTorch do.
"""
