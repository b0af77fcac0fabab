"""The steps of the work, in order, and how one of them is run with its provenance.

Importing this package is cheap: each step loads its method when it is first used.
"""

from core.pipeline.run import run_concat, run_encode, run_step
from core.pipeline.steps import STEPS, Step, step
from core.provenance import content_hash, history

__all__ = ["STEPS", "Step", "content_hash", "history", "run_concat", "run_encode", "run_step", "step"]
