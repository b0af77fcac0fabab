"""A small sample with every result that Explore shows, made without running the steps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData

from core import keys
from spatialmeta_app.workspace import Project, Result, Sample, Workspace, overview, viewing, views

PITCH_PX = 200.0
UM_PER_PX = 0.5  # so that spots are 100 µm apart
ROWS, COLUMNS = 24, 26
CHAIN = {
    "st": {},
    "sm": {},
    "align": {"st": "st", "sm": "sm"},
    "reassign": {"st": "st", "sm": "align"},
    "features": {"joint": "reassign"},
    "integrate": {"joint": "features"},
    "cluster": {"joint": "integrate"},
}


@dataclass(frozen=True)
class Explored:
    project: Project
    sample: Sample
    results: dict[str, Result]
    joint: AnnData

    @property
    def xy(self) -> np.ndarray:
        """Spots as the browser has them: float32."""
        return np.asarray(self.joint.obsm[keys.SPATIAL], dtype=np.float32).astype(np.float64)

    @property
    def path(self) -> str:
        return f"/p/{self.project.id}/{self.sample.id}/explore"

    @property
    def annotations(self) -> str:
        return f"/api/annotations/{self.project.id}/{self.sample.id}"


def hexagons(rows: int = ROWS, columns: int = COLUMNS, pitch: float = PITCH_PX) -> np.ndarray:
    """Visium's pattern: every second row is shifted by half a pitch."""
    r, c = np.divmod(np.arange(rows * columns), columns)
    return np.column_stack([(c + 0.5 * (r % 2)) * pitch + 1000, r * pitch * np.sqrt(3) / 2 + 1500])


def make_joint(seed: int = 0) -> AnnData:
    """Five features with simple shapes in space, two columns of obs, a UMAP; one value is missing."""
    rng = np.random.default_rng(seed)
    xy = hexagons()
    x, y = ((xy - xy.min(axis=0)) / np.ptp(xy, axis=0)).T
    left = (x < 0.5).astype(float)
    noise = rng.random((len(xy), 2))
    values = np.column_stack([x, y, left, *noise.T]).astype(np.float32)
    region = pd.Categorical(np.where(x < 0.3, "Cortex", np.where(x < 0.7, "Striatum", "Septum")))
    joint = AnnData(
        values,
        obs=pd.DataFrame({"region": region, "total": values.sum(axis=1)}, index=[f"s{i}" for i in range(len(xy))]),
        var=pd.DataFrame(
            {
                keys.TYPE: [keys.ST, keys.ST, keys.SM, keys.SM, keys.SM],
                keys.MZ: [np.nan, np.nan, 674.2789, 421.191, np.nan],
                keys.ANNOTATION: ["", "", "Dopamine (2 x FMP-10)", "", "Taurine"],
            },
            index=["Pcp4", "Gnas", "mz-674.2789", "mz-421.1910", "tau"],
        ),
    )
    joint.layers[keys.COUNTS] = values
    joint.layers[keys.NORMALIZED] = np.log1p(values)
    joint.obsm[keys.SPATIAL] = xy
    joint.obsm[keys.X_UMAP] = np.column_stack([x * 10 + noise[:, 0], y * 8]).astype(np.float32)
    joint.uns[keys.UNS] = {keys.UM_PER_PX: UM_PER_PX, keys.UM_PER_PX_SOURCE: "test"}
    picture = np.full((60, 70, 3), 225, dtype=np.uint8)
    picture[10:50, 10:60] = (180, 120, 170)
    factors = {"tissue_lowres_scalef": 0.01, "spot_diameter_fullres": 130.0}
    joint.uns[keys.UNS_SPATIAL] = {"s": {"images": {"lowres": picture}, "scalefactors": factors}}
    return joint


def make_sample(workspace: Workspace, *, name: str = "section", steps: tuple[str, ...] = tuple(CHAIN)) -> Explored:
    """A project with one sample that has a result of each of *steps*."""
    project = workspace.create_project("Explored", "0" * 32)
    sample = workspace.create_sample(project, name)
    joint, results = make_joint(), {}
    for step in steps:
        inputs = {slot: results[source].id for slot, source in CHAIN[step].items() if source in results}
        results[step] = add_result(workspace, sample, step, joint, inputs)
    return Explored(project, sample, results, joint)


def add_result(workspace: Workspace, sample: Sample, step: str, adata: AnnData, inputs: dict[str, str]) -> Result:
    def write(directory: Path) -> dict:
        viewing.write_view(adata, directory / "view")
        if step == "st":
            overview.write_histology(adata, directory / "image")
        return views.counts(adata)

    return workspace.add_result(sample, step, writer=write, config={}, inputs=inputs)
