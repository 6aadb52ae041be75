"""Generation: sampling, streaming text and one loop for every backend. Imports only numpy."""

from muomni_cli.contract.models import PADDED_ROW, Backend
from muomni_cli.generation.loop import Event, Finish, Request, Sampling, generate

__all__ = ["PADDED_ROW", "Backend", "Event", "Finish", "Request", "Sampling", "generate"]
