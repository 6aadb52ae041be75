"""The built-in tokenizers: byte-level BPE and plain bytes."""
