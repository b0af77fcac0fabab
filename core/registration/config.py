"""Settings of the alignment."""

from __future__ import annotations

from dataclasses import dataclass

from core.options import option


@dataclass(frozen=True)
class AlignConfig:
    """Settings of :func:`align`."""

    mode: str = option(
        "automatic",
        "Fit the sections, take exactly the values below, or fit the landmarks alone",
        choices=("automatic", "manual", "landmarks"),
    )
    orientation: str = option(
        "search", "Try all turns and mirror images, or start from the ones below", choices=("search", "given")
    )
    flip: bool = option(False, "Mirror SM left to right, before it is turned")
    rotation_deg: float = option(
        0.0, "Turn of SM, clockwise on the screen", unit="°", minimum=-360.0, maximum=360.0, label="Rotation"
    )
    scale_x: float = option(1.0, "Stretch along SM's x, upon equal areas", minimum=0.01, maximum=100.0)
    scale_y: float = option(1.0, "Stretch along SM's y, upon equal areas", minimum=0.01, maximum=100.0)
    shift_x_um: float = option(0.0, "Move right, from SM's centre on ST's centre", unit="µm")
    shift_y_um: float = option(0.0, "Move down, from SM's centre on ST's centre", unit="µm")
    transform: str = option(
        "nonrigid",
        "Turn, scales and shift; also a shear; or also a smooth deformation",
        choices=("similarity", "affine", "nonrigid"),
    )
    features_weight: float = option(
        1.0, "Weight of the measured values; 1 is what they are worth, 0 leaves them out", minimum=0.0
    )
    latents: str = option(
        "pca",
        "What the measured values are compared by: principal components, or a VAE of each section (trained first)",
        choices=("pca", "vae"),
        advanced=True,
    )
    histology_weight: float = option(
        0.0, "Weight of SM's misfit to the histology's colours, beside the outlines' 1", minimum=0.0
    )
    landmarks_weight: float = option(
        1.0, "Weight of the landmark pairs' distances, beside the outlines' 1", minimum=0.0
    )
    precision: float = option(
        0.01,
        "A fit with measured values has converged when two steps moved the section's rim by less",
        unit="spot distances",
        minimum=0.0,
        maximum=1.0,
        advanced=True,
    )
    landmarks: str = option("", "Pairs [[sm x, sm y, st x, st y], …]; on the command line also a CSV file")
    landmark_fit: str = option(
        "affine", "Map through the landmarks, where they are fitted alone", choices=("similarity", "affine", "spline")
    )
    st_outline: str = option(
        "auto",
        "From its spots, or from the tissue in the histology; auto: the spots, unless the image fits better",
        choices=("auto", "spots", "image"),
        label="ST outline",
    )
    spatial_key: str = option("spatial", "obsm slot of SM with the coordinates as measured", label="SM coordinates")
    cut_edges: bool = option(
        True, "Straight edges along the measured area are cuts, not tissue borders", label="Ignore cut edges"
    )
    max_steps: int = option(400, "Most steps of the gradient descent", minimum=1, maximum=10_000, label="Most steps")
    tolerance: float = option(
        0.002, "Converged when 30 steps gain less than this share of the loss", minimum=0.0, maximum=0.5, advanced=True
    )
    step: float = option(
        0.25, "First step of the descent", unit="spot distances", minimum=0.001, maximum=10.0, advanced=True
    )
    spacing: float = option(
        0.5, "Distance of neighbouring outline points", unit="spot distances", minimum=0.1, maximum=5.0, advanced=True
    )
    smoothing: float = option(
        1.0,
        "Evens out the grid's steps along the outline",
        unit="spot distances",
        minimum=0.0,
        maximum=10.0,
        advanced=True,
    )
    robust_distance: float = option(
        2.0,
        "Outlines further apart than this pull less",
        unit="spot distances",
        minimum=0.1,
        maximum=100.0,
        advanced=True,
    )
    reach: float = option(
        10.0,
        "A deformation moves places nearer than this about alike",
        unit="spot distances",
        minimum=1.0,
        maximum=100.0,
        advanced=True,
        label="Reach of a deformation",
    )
    usual_warp: float = option(
        0.3,
        "How far tissue is usually deformed: standard deviation along each axis",
        unit="spot distances",
        minimum=0.01,
        maximum=100.0,
        advanced=True,
        label="Usual deformation",
    )
    gain: float = option(
        0.5,
        "A deformation has converged when 4 steps make it less than this more likely (log)",
        minimum=1e-3,
        maximum=100.0,
        advanced=True,
    )

    @property
    def compares_values(self) -> bool:
        """Whether what was measured takes part in the fit."""
        return self.mode == "automatic" and (self.features_weight > 0 or self.histology_weight > 0)
