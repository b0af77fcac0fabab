"""What is good, doubtful or impossible about a section or a pair, each in plain sentences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from anndata import AnnData
from scipy import sparse
from scipy.spatial import cKDTree

from core import keys
from core.io import notes

Level = Literal["blocking", "warning", "ok"]


@dataclass(frozen=True)
class Check:
    """One finding. *found* and *mend* are whole sentences; *mend* is empty where there is nothing to do."""

    level: Level
    title: str
    found: str
    mend: str = ""


def check_st(adata: AnnData) -> list[Check]:
    """The findings about an ST section: shape, counts, names, coordinates, scale and image."""
    findings = _shape(adata, "spots", "genes")
    findings += _values(adata, "counts")
    findings += _whole_counts(adata)
    findings += _empty(adata, "spots", "genes") + _names(adata, "spots", "genes") + _coordinates(adata, "spots")
    findings += _st_notes(adata) + _scale(adata) + _images(adata)
    return findings


def check_sm(adata: AnnData) -> list[Check]:
    """The findings about an SM section: shape, intensities, names, m/z, coordinates."""
    findings = _shape(adata, "pixels", "metabolites")
    findings += _values(adata, "intensities")
    findings += _empty(adata, "pixels", "metabolites") + _names(adata, "pixels", "metabolites")
    findings += _coordinates(adata, "pixels") + _mz(adata) + _sm_notes(adata)
    return findings


#: columns of obs that have one level for each section
SECTION_COLUMNS = ("library_id", "sample", "sample_id", "batch", "slide", "orig.ident")
#: a gap this wide, as a share of the extent, is wider than between the pieces of a section
APART = 0.25
SINGULAR = {"intensities": "intensity"}


def _counted(n: int, noun: str, one: str = "", many: str = "") -> str:
    """'1 spot is', '2 spots are'."""
    word, verb = (SINGULAR.get(noun, noun[:-1]), one) if n == 1 else (noun, many)
    return f"{n:,} {word} {verb}".rstrip()


def _number(value: float) -> str:
    """'37,057,800', '1,033', '0.25': never an exponent for what is only large."""
    return f"{value:,.0f}" if value >= 1e6 else f"{value:,.6g}"


def _shape(adata: AnnData, rows: str, columns: str) -> list[Check]:
    n, m = adata.shape
    size = f"{_counted(n, rows)} × {_counted(m, columns)}"
    if n == 0 or m == 0 or not np.any(_stored(adata)):
        return [Check("blocking", "Size", f"The matrix is empty ({size}).", "Choose a file that holds measurements.")]
    if n < 2:
        return [
            Check(
                "blocking",
                "Size",
                f"There is only one of the {rows}.",
                "A section needs many; check the filter that was applied before.",
            )
        ]
    if n < 20:
        return [Check("warning", "Size", f"{size}: very few {rows}.", "Results will say little.")]
    return [Check("ok", "Size", f"{size}.")]


def _stored(adata: AnnData) -> np.ndarray:
    if adata.X is None:
        return np.empty(0)
    return adata.X.data if sparse.issparse(adata.X) else np.asarray(adata.X).ravel()


def _values(adata: AnnData, noun: str) -> list[Check]:
    values = _stored(adata)
    bad = int(np.size(values) - np.count_nonzero(np.isfinite(values)))
    negative = int(np.count_nonzero(values < 0))
    findings = []
    if bad:
        findings.append(
            Check(
                "blocking",
                "Missing or infinite values",
                f"{_counted(bad, noun, 'is', 'are')} NaN or infinite.",
                "Replace them by 0 or leave those features out, and import again.",
            )
        )
    if negative:
        findings.append(
            Check(
                "blocking",
                "Negative values",
                f"{_counted(negative, noun, 'is', 'are')} below zero.",
                f"Give the raw {noun}: scaled or centred values cannot be used.",
            )
        )
    if not findings and values.size:
        findings.append(
            Check("ok", "Values", f"All {noun} are finite and none is negative (largest {_number(values.max())}).")
        )
    return findings


def _whole_counts(adata: AnnData) -> list[Check]:
    values = _stored(adata)
    values = values[np.isfinite(values)]
    if values.size == 0:
        return []
    off = np.abs(values - np.rint(values))
    broken = int(np.count_nonzero(off > 0))
    if broken == 0:
        return [Check("ok", "Counts", "All counts are whole numbers.")]
    share = broken / values.size
    if share < 0.01 or off.max() < 1e-3:
        return [
            Check(
                "warning",
                "Counts",
                f"{broken:,} of {values.size:,} counts ({share:.2%}) are not whole numbers.",
                "They are used as they are; ambient RNA correction does this.",
            )
        ]
    return [
        Check(
            "blocking",
            "Counts",
            f"{share:.0%} of the counts are not whole numbers: they look normalised or log-transformed.",
            "The model needs raw counts: put them in X or in layers['counts'].",
        )
    ]


def _empty(adata: AnnData, rows: str, columns: str) -> list[Check]:
    if adata.X is None or 0 in adata.shape:
        return []
    present = sparse.csr_matrix(adata.X) != 0
    findings = []
    mends = {
        1: "They are kept; filter them if they lie outside the tissue.",
        0: "The choice of features leaves them out.",
    }
    for axis, noun in ((1, rows), (0, columns)):
        empty = int(np.count_nonzero(np.asarray(present.sum(axis=axis)).ravel() == 0))
        if empty:
            findings.append(
                Check(
                    "warning",
                    f"Empty {noun}",
                    f"{_counted(empty, noun)} without any value.",
                    mends[axis],
                )
            )
    return findings


def _names(adata: AnnData, rows: str, columns: str) -> list[Check]:
    findings = []
    for index, fact, noun in (
        (adata.var_names, notes.RENAMED_FEATURES, columns),
        (adata.obs_names, notes.RENAMED_OBSERVATIONS, rows),
    ):
        renamed, repeated = int(notes.noted(adata, fact, 0)), int(index.duplicated().sum())
        if renamed or repeated:
            what = "Suffixes were added (-1, -2, …)." if renamed else "Suffixes will be added."
            findings.append(
                Check(
                    "warning",
                    "Repeated names",
                    f"{_counted(renamed or repeated, noun, 'has', 'have')} a name that is already taken. {what}",
                    "Give each its own name if you want to choose.",
                )
            )
    return findings


def _coordinates(adata: AnnData, rows: str) -> list[Check]:
    def finding(level: Level, found: str, mend: str = "") -> list[Check]:
        return [Check(level, "Coordinates", found, mend)]

    if keys.SPATIAL not in adata.obsm:
        mend = "Give a Space Ranger folder, the spatial folder beside the matrix, or an h5ad with them."
        return finding("blocking", f"The {rows} have no coordinates (no obsm['spatial']).", mend)
    xy = np.asarray(adata.obsm[keys.SPATIAL])
    if xy.ndim != 2 or xy.shape[1] < 2 or xy.dtype.kind not in "fiu":
        found = f"obsm['spatial'] has the shape {xy.shape} and type {xy.dtype}."
        return finding("blocking", found, "It needs two number columns, x and y.")
    xy = xy[:, :2].astype(np.float64)
    missing = int(np.count_nonzero(~np.isfinite(xy).all(axis=1)))
    if missing:
        found = f"{_counted(missing, rows, 'has', 'have')} no coordinates."
        return finding("blocking", found, f"Remove those {rows} or give their positions.")
    several = mixed_sections(adata, xy)
    if several and several.column != keys.SAMPLE:  # which the steps after the alignment heed
        return finding("blocking", several.found, several.mend)
    if len(xy) > 1 and np.any(np.ptp(xy, axis=0) == 0):
        found = f"All {rows} have the same x or the same y."
        return finding("blocking", found, "Check which columns hold the positions.")
    shared = len(xy) - len(np.unique(xy, axis=0))
    if shared:
        found = f"{_counted(shared, rows, 'lies', 'lie')} exactly on another one."
        return finding("warning", found, "Two sections in one file? Import them as two samples.")
    if len(xy) == 0:
        return []
    for axis, name in enumerate("xy"):
        low, high = _widest_gap(xy[:, axis])
        if high - low > APART * np.ptp(xy[:, axis]):
            before = int(np.count_nonzero(xy[:, axis] <= low))
            found = f"{before:,} and {len(xy) - before:,} {rows} lie far apart ({name} {low:,.6g} and {high:,.6g})."
            return finding("warning", found, "Two sections in one file? Import them as two samples.")
    (x0, y0), (x1, y1) = xy.min(axis=0), xy.max(axis=0)
    source = notes.noted(adata, notes.COORDINATES_FROM)
    taken = f", taken from {source}" if source else ""
    return finding("ok", f"x {x0:,.6g} to {x1:,.6g}, y {y0:,.6g} to {y1:,.6g}{taken}.")


def _widest_gap(values: np.ndarray) -> tuple[float, float]:
    """Where the widest gap among *values* (n,) begins and ends; equal where it is not much wider than others."""
    ordered = np.unique(values)
    gaps = np.diff(ordered)
    if len(gaps) == 0 or gaps.max() < 5 * np.median(gaps):
        return 0.0, 0.0
    i = int(np.argmax(gaps))
    return float(ordered[i]), float(ordered[i + 1])


@dataclass(frozen=True)
class Mixed:
    """Sections that lie on each other, and the column of obs that tells them apart."""

    column: str
    levels: list[str]

    @property
    def found(self) -> str:
        few = ", ".join(self.levels[:5]) + (", …" if len(self.levels) > 5 else "")
        return f"{len(self.levels)} sections lie on each other (obs['{self.column}']: {few})."

    @property
    def mend(self) -> str:
        chosen = f"adata[adata.obs['{self.column}'] == '{self.levels[0]}'].write_h5ad(…)"
        return f"Import each as a sample of its own: {chosen}."


def mixed_sections(adata: AnnData, xy: np.ndarray) -> Mixed | None:
    """The sections at *xy* (n, 2) where most spots have their nearest neighbour in another section than their own."""
    if len(xy) < 2 or not any(str(column).lower() in SECTION_COLUMNS for column in adata.obs):
        return None
    neighbour = cKDTree(xy).query(xy, k=2)[1][:, 1]
    for column in adata.obs:
        labels = adata.obs[column].astype(str).to_numpy()
        if str(column).lower() in SECTION_COLUMNS and np.mean(labels != labels[neighbour]) > 0.5:
            return Mixed(str(column), sorted(set(labels)))
    return None


def _mz(adata: AnnData) -> list[Check]:
    if keys.MZ not in adata.var:
        return [Check("warning", "m/z", "No feature has an m/z.", "Names are used; matching by mass is not possible.")]
    mz = adata.var[keys.MZ].to_numpy(dtype=np.float64)
    known = np.isfinite(mz)
    if not known.any():
        return [Check("warning", "m/z", "No feature has an m/z.", "Names are used; matching by mass is not possible.")]
    if np.any(mz[known] <= 0):
        return [
            Check(
                "blocking",
                "m/z",
                f"{int(np.count_nonzero(mz[known] <= 0)):,} m/z are zero or negative.",
                "Check which column holds them.",
            )
        ]
    text = f"{int(known.sum()):,} of {mz.size:,} features have an m/z ({mz[known].min():.4f} to {mz[known].max():.4f})"
    without = list(adata.var_names[~known].astype(str))
    text += f"; not {', '.join(without[:5])}{', …' if len(without) > 5 else ''}." if without else "."
    return [Check("ok", "m/z", text)]


def _st_notes(adata: AnnData) -> list[Check]:
    findings = []
    source = notes.noted(adata, notes.COUNTS_FROM)
    if source:
        findings.append(
            Check(
                "warning",
                "Counts",
                f"X does not hold counts; they were taken from {source}.",
                "Nothing to do if those are the raw counts.",
            )
        )
    outside = int(notes.noted(adata, notes.OUTSIDE_TISSUE, 0))
    if outside:
        findings.append(Check("ok", "Tissue", f"{_counted(outside, 'spots')} outside the tissue left out."))
    elif "in_tissue" in adata.obs and adata.obs["in_tissue"].astype(str).isin(["0", "0.0", "False"]).all():
        text = "All spots are marked as outside the tissue (obs['in_tissue']); they are kept."
        findings.append(Check("warning", "Tissue", text, "Check that the right spots were saved."))
    other = int(notes.noted(adata, notes.OTHER_FEATURES, 0))
    if other:
        findings.append(
            Check("warning", "Features", f"{_counted(other, 'features')} of another kind than genes left out.")
        )
    return findings


def _scale(adata: AnnData) -> list[Check]:
    ours = adata.uns.get(keys.UNS, {})
    if keys.UM_PER_PX not in ours:
        return []
    value, source = float(ours[keys.UM_PER_PX]), str(ours.get(keys.UM_PER_PX_SOURCE, ""))
    return [Check("ok", "Scale", f"{value:.4g} µm per full-resolution pixel ({source}).")]


def _images(adata: AnnData) -> list[Check]:
    sections = list(adata.uns.get(keys.UNS_SPATIAL, {}).values())
    images = {name: image for section in sections for name, image in section.get("images", {}).items()}
    if not images:
        return [
            Check(
                "warning",
                "Histology",
                "There is no histology image.",
                "Alignment works without; give an image to see it under the spots.",
            )
        ]
    outside = _outside_image(adata, sections[0]) if len(sections) == 1 else ""
    if outside:
        return [
            Check(
                "warning", "Histology", outside, "Check the scale of the image: its pixels per full-resolution pixel."
            )
        ]
    sizes = ", ".join(f"{name} {i.shape[1]:,} × {i.shape[0]:,} px" for name, i in images.items())
    samples = list(adata.uns[keys.UNS_SPATIAL])
    if len(samples) > 1:
        text = f"The file has images of {len(samples)} sections; that of {samples[0]} is used."
        return [Check("warning", "Histology", text, "Remove the others from uns['spatial'] where it is another one.")]
    return [Check("ok", "Histology", f"{sizes}.")]


def _outside_image(adata: AnnData, section: dict) -> str:
    """How many spots the image that is drawn under them does not reach; '' where it holds all."""
    image, scale = section["images"].get("hires"), section.get("scalefactors", {}).get("tissue_hires_scalef")
    if image is None or scale is None or keys.SPATIAL not in adata.obsm:
        return ""
    height, width = image.shape[:2]
    on_image = np.asarray(adata.obsm[keys.SPATIAL], dtype=np.float64)[:, :2] * scale
    n = int(((on_image < 0) | (on_image > (width, height))).any(axis=1).sum())
    if not n:
        return ""
    x, y = on_image.max(axis=0)
    return (
        f"{_counted(n, 'spots', 'lies', 'lie')} outside the image: at {scale:.4g} of full resolution they reach "
        f"{x:,.0f}, {y:,.0f} px of {width:,} × {height:,}."
    )


def _sm_notes(adata: AnnData) -> list[Check]:
    findings = []
    if notes.noted(adata, notes.CENTROIDED):
        findings.append(
            Check(
                "warning",
                "Profile spectra",
                "The spectra are profiles; peaks were picked at import.",
                "For full control pick peaks in your own software and export centroided imzML.",
            )
        )
    if notes.noted(adata, notes.NO_PROFILE):
        text = "The file says that its spectra are profiles, but their m/z lie as far apart as peaks do."
        findings.append(Check("warning", "Spectra", text, "They are taken as peaks."))
    rare = int(notes.noted(adata, notes.RARE_PEAKS, 0))
    if rare:
        findings.append(Check("warning", "Rare peaks", f"{rare:,} m/z found in fewer than 1 % of the pixels left out."))
    return findings
