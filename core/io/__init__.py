"""Readers by format, the checks of untrusted files, the atomic writer: the only part of core that opens files."""

from core.io.alignment import read_alignment, write_alignment
from core.io.checks import Check, check_sm, check_st
from core.io.h5ad import read_h5ad
from core.io.images import read_image
from core.io.pair_checks import check_pair
from core.io.readers import read_sm, read_st
from core.io.writer import write_h5ad

__all__ = [
    "Check",
    "check_pair",
    "check_sm",
    "check_st",
    "read_alignment",
    "read_h5ad",
    "read_image",
    "read_sm",
    "read_st",
    "write_alignment",
    "write_h5ad",
]
