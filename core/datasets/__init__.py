"""A simulated pair of sections with known truth: the demonstration project and a test bed."""

from core.datasets.simulator import SimulateConfig, Simulated, SimulatedSample, Truth, simulate

__all__ = ["SimulateConfig", "Simulated", "SimulatedSample", "Truth", "simulate"]
