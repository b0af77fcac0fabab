"""Measurements, each beside a reference in the same run. ``make bench`` runs all; ``python -m benchmarks NAME`` one."""
