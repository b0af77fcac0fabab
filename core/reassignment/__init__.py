"""Reassignment: both modalities onto common places, by sparse weights."""

from core.reassignment.assemble import reassign
from core.reassignment.links import Links, knn_links, knn_weights
from core.reassignment.plan import Plan, ReassignConfig, Sources, plan

__all__ = ["Links", "Plan", "ReassignConfig", "Sources", "knn_links", "knn_weights", "plan", "reassign"]
