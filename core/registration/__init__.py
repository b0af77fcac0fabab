"""Registration: outlines, transforms, losses, the fit, and its result.

Importing this package loads neither torch nor anndata, so that the web process may use it.
"""

from core.registration.align import align
from core.registration.config import AlignConfig
from core.registration.course import register
from core.registration.diffeomorphism import Diffeomorphism
from core.registration.images import PixelGrid
from core.registration.landmarks import Landmarks, fit_landmarks
from core.registration.manual import ManualBase, manual_base, manual_transform
from core.registration.pair import Pair
from core.registration.result import Orientation, Quality, RegistrationResult
from core.registration.transforms import Affine, Composition, Similarity, Transform, transform_from_dict

__all__ = [
    "Affine",
    "AlignConfig",
    "Composition",
    "Diffeomorphism",
    "Landmarks",
    "ManualBase",
    "Orientation",
    "Pair",
    "PixelGrid",
    "Quality",
    "RegistrationResult",
    "Similarity",
    "Transform",
    "align",
    "fit_landmarks",
    "manual_base",
    "manual_transform",
    "register",
    "transform_from_dict",
]
