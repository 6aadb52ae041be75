"""Generation: sampling, streaming text and one loop for every backend. Imports numpy, no framework."""

from muomni_cli.contract.backend import IDLE, Backend
from muomni_cli.generation.loop import Event, Finish, Request, generate
from muomni_cli.generation.sampling import Sampling

__all__ = ["IDLE", "Backend", "Event", "Finish", "Request", "Sampling", "generate"]
