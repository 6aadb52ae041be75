"""Conformance checks of ``muomni plugins check`` and :mod:`muomni_cli.testing`: a part is built with its test config
and
checked against the protocol of its kind.

``runner`` collects and runs checks, ``part_under_test`` builds the part, ``common`` has the checks for all parts and
``modules`` those for all PyTorch modules; the other modules are for single kinds.
"""
