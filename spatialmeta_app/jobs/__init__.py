"""Long calculations: the store that knows them, the runner that does them, one child process each."""

from spatialmeta_app.jobs.records import KINDS, Job
from spatialmeta_app.jobs.store import JobStore
from spatialmeta_app.jobs.supervise import Outcome, supervise

__all__ = ["KINDS", "Job", "JobStore", "Outcome", "supervise"]
