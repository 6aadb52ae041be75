"""Conformance checks of ``muomni plugins check`` and :mod:`muomni_cli.testing`: a part is built with its test config
and checked against the protocol of its kind.

``runner`` collects and runs checks, ``common`` has the part under test and the checks for all parts, ``modules`` those
for all PyTorch modules; the other modules are for single kinds.
"""
