"""Shows: what a study did, as one page that people open. Imports the rest; only a command line may import it."""

from .notes import annotate
from .write import write_report

__all__ = ["annotate", "write_report"]
