"""The cards of muomni eval: answers, conversations, text, speech."""

from muomni_cli.api import Cards, hookimpl

ASKS = "muomni_cli.evaluation"
"""Where the host asks; a set of cards from elsewhere names a module of its own."""


@hookimpl
def register_cards() -> list[Cards]:
    """One set for each way in which a stage can be asked."""
    return [
        Cards(
            name="answers",
            doc="what an encoder answers to the examples of its own stage, task by task",
            stages=(Cards.ENCODERS,),
            make=f"{ASKS}.answers:answer_cards",
        ),
        Cards(
            name="conversations",
            doc="answers about pictures and sounds, and to the same questions about others",
            stages=("omni",),
            make=f"{ASKS}.dialogues:dialogue_cards",
        ),
        Cards(
            name="text",
            doc="bits a byte of held-out text, beside a compressor",
            stages=("thinker", "omni"),
            make=f"{ASKS}.text:text_cards",
        ),
        Cards(
            name="speech",
            doc="what a recogniser of others understands of codec, vocoder and Talker",
            stages=("codec", "vocoder", "talker"),
            make=f"{ASKS}.speech_cards:speech_cards",
        ),
    ]
