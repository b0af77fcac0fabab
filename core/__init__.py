"""SpatialMETA: integration of spatial transcriptomics (ST) and spatial metabolomics (SM).

The science only: nothing in here knows a web framework, and only :mod:`core.io` opens files.
"""

__version__ = "0.1.0"
