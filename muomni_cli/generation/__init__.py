"""Generation: sampling, streaming text and one loop for every backend. Imports numpy, no framework."""

from muomni_cli.contract.models import IDLE, Backend
from muomni_cli.generation.loop import Event, Finish, Request, Sampling, generate

__all__ = ["IDLE", "Backend", "Event", "Finish", "Request", "Sampling", "generate"]
