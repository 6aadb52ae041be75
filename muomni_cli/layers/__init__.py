"""Networks that several parts are made of, in plain PyTorch. Plugins import them; they know no part."""
