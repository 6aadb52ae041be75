"""How long speech may get. Knows numbers alone."""

FEWEST, MOST, EACH = 50, 1000, 30


def most_frames(tokens: int) -> int:
    """The specification's estimate of the code frames of a text, which is a bound: 30 a token, but from 50 to 1000.
    Where a Talker counts words, they are what a token is."""
    return max(FEWEST, min(MOST, EACH * tokens))
