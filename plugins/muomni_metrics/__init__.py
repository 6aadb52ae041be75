"""Which of the questions that the host knows to ask belong to which stage: the cards of ``muomni eval``."""
