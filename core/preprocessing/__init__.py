"""Before the model: quality metrics, normalisation per modality, spatially variable features."""

from core.preprocessing.features import FeaturesConfig, select_features
from core.preprocessing.normalisation import normalize_modalities, normalize_total

__all__ = ["FeaturesConfig", "normalize_modalities", "normalize_total", "select_features"]
