"""A paired sample (Visium-like ST + MSI of the same section) whose truth is known at every point."""

from __future__ import annotations

from dataclasses import dataclass, replace

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from core import keys, options
from core.datasets import features, histology
from core.datasets.tissue import HIDDEN, N_DOMAINS, SmoothField, Tissue, visible_domain
from core.options import option

SPOT_DISTANCE_UM = 100.0
SPOT_DIAMETER_UM = 55.0
FIDUCIAL_DIAMETER_UM = 89.0
UM_PER_PX = 0.5  # of the full-resolution image that is never made
HIRES, LOWRES = 1200, 400  # longer side of the pictures, pixels
MARGIN = 6.0  # white rim around the section, spot distances
DOMAINS = tuple(f"domain {i + 1}" for i in range(N_DOMAINS))


@dataclass(frozen=True)
class SimulateConfig:
    """Settings of :func:`simulate`."""

    spots: int = option(2000, "Visium spots under the tissue of each sample", minimum=50, maximum=100_000)
    genes: int = option(500, "Genes", minimum=2, maximum=20_000)
    metabolites: int = option(200, "Metabolites (m/z)", minimum=2, maximum=5_000)
    samples: int = option(1, "Paired samples", minimum=1, maximum=20)
    pixel_density: float = option(3.0, "MSI pixels per spot", minimum=1.0, maximum=20.0)
    rotation_deg: float = option(
        20.0, "Turn that brings the MSI grid onto ST, clockwise on the screen", unit="°", minimum=-360.0, maximum=360.0
    )
    flip: bool = option(False, "MSI is a mirror image of ST")
    anisotropy: float = option(
        0.05, "How much longer MSI pixels are along x than along y, as a share", minimum=-0.5, maximum=1.0
    )
    shift: float = option(
        3.0, "Empty rim before the section in the MSI frame", unit="spot distances", minimum=0.0, maximum=1000.0
    )
    warp: float = option(
        0.5, "Largest smooth deformation between the two", unit="spot distances", minimum=0.0, maximum=10.0
    )
    count_dropout: float = option(0.1, "Share of counts lost (zero inflation)", minimum=0.0, maximum=0.95)
    intensity_dropout: float = option(0.1, "Share of intensities lost", minimum=0.0, maximum=0.95)
    batch_effect: float = option(
        0.3, "Standard deviation of each feature's log change between samples", minimum=0.0, maximum=3.0
    )
    seed: int = option(0, "Seed of all random numbers", minimum=0)


@dataclass(frozen=True)
class Truth:
    """What was put into one sample.

    Attributes
    ----------
    rotation_deg, flip
        The turn and mirror image that bring the MSI grid onto ST, as :class:`core.registration.AlignConfig` takes them.
    pixel_um
        (x, y) size of an MSI pixel in µm.
    warp
        Largest deformation in spot distances.
    domains
        One row a domain: ``visible_in`` ('both', 'ST' or 'SM') and ``parent``, with which the other modality merges it.
    true_st_xy
        (n_pixels, 2) where each MSI pixel truly lies, full-resolution ST pixels.
    st_log_mean, sm_log_mean
        float32 (n_spots, genes) and (n_spots, metabolites): log of the noiseless level at the spots, before library
        size, ionisation efficiency, dropout and draw.
    """

    rotation_deg: float
    flip: bool
    pixel_um: tuple[float, float]
    warp: float
    domains: pd.DataFrame
    true_st_xy: np.ndarray
    st_log_mean: np.ndarray
    sm_log_mean: np.ndarray


@dataclass(frozen=True)
class SimulatedSample:
    """One pair."""

    name: str
    st: ad.AnnData
    sm: ad.AnnData
    truth: Truth


@dataclass(frozen=True)
class Simulated:
    """All pairs; ``st``, ``sm`` and ``truth`` are those of the first."""

    samples: tuple[SimulatedSample, ...]

    @property
    def st(self) -> ad.AnnData:
        return self.samples[0].st

    @property
    def sm(self) -> ad.AnnData:
        return self.samples[0].sm

    @property
    def truth(self) -> Truth:
        return self.samples[0].truth


@dataclass(frozen=True)
class _Chemistry:
    """The features of a sample, and how they depend on the place."""

    genes: pd.DataFrame
    metabolites: pd.DataFrame
    expression: features.Programmes
    intensity: features.Programmes
    inverse_dispersion: np.ndarray

    def in_batch(self, standard_deviation: float, rng: np.random.Generator) -> _Chemistry:
        expression = self.expression.in_batch(standard_deviation, rng)
        return replace(self, expression=expression, intensity=self.intensity.in_batch(standard_deviation, rng))


@dataclass(frozen=True)
class _Section:
    """A tissue placed on the slide: ``radius`` spot distances per unit of the tissue, ``centre`` [x, y] in px."""

    tissue: Tissue
    radius: float
    centre: np.ndarray
    size: tuple[int, int]  # (width, height) of the full-resolution image

    def unit(self, xy_px: np.ndarray) -> np.ndarray:
        """Full-resolution pixels (n, 2) in the tissue's own units."""
        return (xy_px - self.centre) / (self.radius * SPOT_DISTANCE_UM / UM_PER_PX)


def simulate(config: SimulateConfig | None = None) -> Simulated:
    """Make *config.samples* paired samples, the same for the same config.

    Each ``st`` has counts in X and ``layers['counts']`` (CSR float32), ``obsm['spatial']`` in full-resolution pixels,
    ``obs``: array_row, array_col, in_tissue, sample, domain, visible_domain (domains that ST can not see merged), and
    the picture in ``uns['spatial'][sample]``. Each ``sm`` has intensities, ``obsm['spatial']`` the raw pixel grid
    [x, y], ``obsm['true_st_xy']`` where the pixels truly lie, and the same obs columns.

    Raises
    ------
    ConfigError
        A setting is out of its range.
    """
    config = options.check(config or SimulateConfig())
    shared = np.random.default_rng([config.seed, 0])
    chemistry = _draw_chemistry(config, shared)
    samples = []
    for index in range(config.samples):
        rng = np.random.default_rng([config.seed, index + 1])
        measured = chemistry.in_batch(config.batch_effect, rng) if index else chemistry
        samples.append(_simulate_sample(f"sim{index + 1}", measured, config, rng))
    return Simulated(tuple(samples))


def _draw_chemistry(config: SimulateConfig, rng: np.random.Generator) -> _Chemistry:
    sizes = {"n_domains": N_DOMAINS, "n_gradients": 4}
    return _Chemistry(
        genes=features.gene_table(config.genes, rng),
        metabolites=features.metabolite_table(config.metabolites, rng),
        expression=features.Programmes.draw(rng, config.genes, level=0.0, spread=1.1, **sizes),
        intensity=features.Programmes.draw(rng, config.metabolites, level=6.0, spread=1.3, **sizes),
        inverse_dispersion=rng.gamma(4.0, 0.75, config.genes) + 0.3,
    )


def _simulate_sample(
    name: str, chemistry: _Chemistry, config: SimulateConfig, rng: np.random.Generator
) -> SimulatedSample:
    section, spots = _place_spots(Tissue.draw(rng), config.spots)
    st = _make_st(section, spots, chemistry, config.count_dropout, rng=rng)
    st.obs[keys.SAMPLE] = pd.Categorical([name] * st.n_obs)
    st.uns[keys.UNS_SPATIAL] = {name: _spatial(section, rng)}
    grid, true_xy, pixel_um = _place_pixels(section, config, rng)
    levels = _log_means(section, st.obsm[keys.SPATIAL], chemistry)
    truth = Truth(config.rotation_deg, config.flip, pixel_um, config.warp, _domain_table(), true_xy, **levels)
    sm = _make_sm(section, grid, true_xy, chemistry, config.intensity_dropout, rng=rng)
    sm.obs[keys.SAMPLE] = pd.Categorical([name] * sm.n_obs)
    sm.uns["truth"] = {
        "rotation_deg": truth.rotation_deg,
        "flip": truth.flip,
        "pixel_um": list(truth.pixel_um),
        "warp_spot_distances": truth.warp,
        "spot_distance_px": SPOT_DISTANCE_UM / UM_PER_PX,
    }
    return SimulatedSample(name, st, sm, truth)


def _place_spots(tissue: Tissue, n: int) -> tuple[_Section, pd.DataFrame]:
    """The *n* hexagonal spots nearest to the centre by the tissue's level, so that its outline holds exactly them."""
    reach = int(np.ceil(2.2 * np.sqrt(n))) + 4
    row, column = np.meshgrid(np.arange(-reach, reach + 1), np.arange(-2 * reach, 2 * reach + 1), indexing="ij")
    keep = (row + column) % 2 == 0
    row, column = row[keep], column[keep]
    xy = np.column_stack([column / 2, row * np.sqrt(3) / 2])  # spot distances
    level = tissue.level(xy)
    inside = np.argsort(level, kind="stable")[:n]
    radius = float(level[inside[-1]]) + 1e-6
    inside = inside[np.lexsort((column[inside], row[inside]))]
    low = xy[inside].min(axis=0) - MARGIN
    px = SPOT_DISTANCE_UM / UM_PER_PX
    width, height = np.ceil((xy[inside].max(axis=0) + MARGIN - low) * px).astype(int)
    first_row, first_column = _array_origin(row[inside], column[inside])
    spots = pd.DataFrame(
        {
            "x": (xy[inside, 0] - low[0]) * px,
            "y": (xy[inside, 1] - low[1]) * px,
            "array_row": row[inside] - first_row,
            "array_col": column[inside] - first_column,
        }
    )
    return _Section(tissue, radius, -low * px, (int(width), int(height))), spots


def _array_origin(row: np.ndarray, column: np.ndarray) -> tuple[int, int]:
    """What to take from lattice indices to lie in the middle of Visium's array, where it is large enough."""
    first = []
    for index, length in ((row, 78), (column, 128)):
        rim = max(0, (length - 1 - int(np.ptp(index))) // 2)
        first.append(int(index.min()) - rim)
    first[1] -= (first[0] + first[1]) % 2  # row and column of a Visium spot are both even or both odd
    return first[0], first[1]


def _place_pixels(
    section: _Section, config: SimulateConfig, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, tuple[float, float]]:
    """Of the MSI pixels that lie on tissue: raw grid (n, 2), where they lie (n, 2), and the (x, y) size in µm."""
    pitch_um = SPOT_DISTANCE_UM * np.sqrt(np.sqrt(3) / 2 / config.pixel_density)
    stretch = np.sqrt(1 + config.anisotropy)
    pixel_um = (float(pitch_um * stretch), float(pitch_um / stretch))
    reach = int(np.ceil(2.2 * section.radius * SPOT_DISTANCE_UM / min(pixel_um)))
    index = np.arange(-reach, reach + 1)
    x, y = np.meshgrid(index, index)
    grid = np.column_stack([x.ravel(), y.ravel()])
    mirrored = (grid + rng.uniform(-0.5, 0.5, 2)) * np.array(pixel_um) / UM_PER_PX * [-1 if config.flip else 1, 1]
    angle = np.deg2rad(config.rotation_deg)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    true_xy = mirrored @ rotation.T + section.centre
    near = section.tissue.level(section.unit(true_xy)) < 1.5
    grid, true_xy = grid[near], true_xy[near]
    true_xy = true_xy + _warp(section, true_xy, config.warp, rng)
    inside = section.tissue.level(section.unit(true_xy)) <= 1
    grid, true_xy = grid[inside], true_xy[inside]
    grid = grid - grid.min(axis=0) + np.round(config.shift * SPOT_DISTANCE_UM / np.array(pixel_um)).astype(int)
    return grid, true_xy, pixel_um


def _warp(section: _Section, xy: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Smooth displacement of *xy* (n, 2) in px, of at most *amount* spot distances."""
    unit = section.unit(xy)
    moved = np.column_stack([SmoothField.draw(rng, wavelength=1.6, n_waves=4)(unit) for _ in range(2)])
    largest = np.sqrt((moved**2).sum(axis=1).max())
    return moved * (amount / largest * SPOT_DISTANCE_UM / UM_PER_PX)


def _log_means(section: _Section, xy: np.ndarray, chemistry: _Chemistry) -> dict[str, np.ndarray]:
    """Noiseless levels of both modalities at *xy* (n, 2), as :class:`Truth` has them."""
    unit = section.unit(xy)
    domain, gradient = section.tissue.domain(unit), section.tissue.gradient(unit)
    programmes = {keys.ST: chemistry.expression, keys.SM: chemistry.intensity}
    return {
        f"{kind.lower()}_log_mean": what.log_mean(visible_domain(domain, kind), gradient).astype(np.float32)
        for kind, what in programmes.items()
    }


def _make_st(
    section: _Section, spots: pd.DataFrame, chemistry: _Chemistry, dropout: float, *, rng: np.random.Generator
) -> ad.AnnData:
    xy = spots[["x", "y"]].to_numpy()
    unit = section.unit(xy)
    domain = section.tissue.domain(unit)
    log_mean = chemistry.expression.log_mean(visible_domain(domain, keys.ST), section.tissue.gradient(unit))
    log_mean += rng.normal(0, 0.25, (len(spots), 1))  # library size
    counts = features.draw_zinb(np.exp(log_mean), chemistry.inverse_dispersion, dropout, rng)
    obs = _obs(_barcodes(len(spots)), domain, keys.ST)
    obs.insert(0, "in_tissue", 1)
    obs["array_row"], obs["array_col"] = spots["array_row"].to_numpy(), spots["array_col"].to_numpy()
    return _adata(counts, obs, chemistry.genes, xy)


def _make_sm(
    section: _Section,
    grid: np.ndarray,
    true_xy: np.ndarray,
    chemistry: _Chemistry,
    dropout: float,
    *,
    rng: np.random.Generator,
) -> ad.AnnData:
    unit = section.unit(true_xy)
    domain = section.tissue.domain(unit)
    log_median = chemistry.intensity.log_mean(visible_domain(domain, keys.SM), section.tissue.gradient(unit))
    log_median += rng.normal(0, 0.2, (len(grid), 1))  # ionisation efficiency
    intensities = features.draw_log_normal(log_median, 0.4, dropout, rng)
    obs = _obs([f"px_{x}_{y}" for x, y in grid], domain, keys.SM)
    sm = _adata(intensities, obs, chemistry.metabolites, grid.astype(np.float64))
    sm.obsm["true_st_xy"] = true_xy
    return sm


def _adata(values: np.ndarray, obs: pd.DataFrame, var: pd.DataFrame, xy: np.ndarray) -> ad.AnnData:
    matrix = sparse.csr_matrix(values)
    adata = ad.AnnData(X=matrix, obs=obs, var=var.copy(), layers={keys.COUNTS: matrix.copy()})
    adata.obsm[keys.SPATIAL] = xy
    return adata


def _obs(names: list[str], domain: np.ndarray, modality: str) -> pd.DataFrame:
    labels = np.array(DOMAINS)
    seen = visible_domain(domain, modality)
    return pd.DataFrame(
        {
            "domain": pd.Categorical(labels[domain], categories=DOMAINS),
            "visible_domain": pd.Categorical(labels[seen], categories=[DOMAINS[i] for i in np.unique(seen)]),
        },
        index=pd.Index(names),
    )


def _domain_table() -> pd.DataFrame:
    rows = []
    for index in range(N_DOMAINS):
        parent, visible_in = HIDDEN.get(index, (index, "both"))
        rows.append({"visible_in": visible_in, "parent": DOMAINS[parent]})
    return pd.DataFrame(rows, index=pd.Index(DOMAINS, name="domain"))


def _barcodes(n: int) -> list[str]:
    """*n* distinct 16-letter barcodes; odd factors and xor-shifts permute the numbers below 4**16."""
    number = (np.arange(1, n + 1, dtype=np.uint64) * np.uint64(2654435761)) % np.uint64(4**16)
    number = ((number ^ (number >> np.uint64(15))) * np.uint64(2246822519)) % np.uint64(4**16)
    digits = (number[:, None] // np.uint64(4) ** np.arange(16, dtype=np.uint64)) % np.uint64(4)
    letters = np.array(list("ACGT"))[digits.astype(int)]
    return ["".join(row) + "-1" for row in letters]


def _spatial(section: _Section, rng: np.random.Generator) -> dict:
    """``uns['spatial'][sample]`` as scanpy and squidpy read it."""
    width, height = section.size
    scale = HIRES / max(width, height)
    hires = histology.draw_histology(
        section.tissue,
        width=round(width * scale),
        height=round(height * scale),
        centre=section.centre * scale,
        radius=section.radius * SPOT_DISTANCE_UM / UM_PER_PX * scale,
        rng=rng,
    )
    return {
        "images": {"hires": hires, "lowres": histology.shrink(hires, LOWRES)},
        "scalefactors": {
            "tissue_hires_scalef": scale,
            "tissue_lowres_scalef": scale * LOWRES / HIRES,
            "spot_diameter_fullres": SPOT_DIAMETER_UM / UM_PER_PX,
            "fiducial_diameter_fullres": FIDUCIAL_DIAMETER_UM / UM_PER_PX,
        },
        "metadata": {"chemistry_description": "simulated"},
    }
