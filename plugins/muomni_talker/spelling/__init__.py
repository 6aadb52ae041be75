"""How written words are spoken: tables and readers of one word each. No torch, no numpy."""
