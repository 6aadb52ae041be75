"""Structured output: forms become grammars of llguidance, and grammars become masks over the tokens of an answer."""
