"""The trained model: what it makes of spots, which may be new, and its file."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import anndata as ad
import numpy as np
import torch
from scipy import sparse

from core import keys
from core.errors import DataError, FormatError
from core.options import from_mapping
from core.quality import measured
from core.vae import checkpoint
from core.vae.across import Shifts
from core.vae.config import IntegrateConfig, as_plain
from core.vae.contributions import Contrasts, about_origin
from core.vae.data import Dataset
from core.vae.inputs import matrices_of, samples_of
from core.vae.mixing import mixing
from core.vae.modality import COUNT_LIKELIHOODS, Modality
from core.vae.module import Module

FORMAT = 1
CHUNK = 2048  # spots encoded or decoded at once


@dataclass(frozen=True)
class Embeddings:
    """Posterior means, deterministic. *joint* and each of *single* (by modality): float32, shape (spots, n_latent)."""

    joint: np.ndarray
    single: dict[str, np.ndarray]


@dataclass(frozen=True)
class Model:
    """A trained module with what it must know of the data to meet new spots.

    Attributes
    ----------
    module
        In evaluation mode.
    config
        As resolved for the training.
    batch_columns, batch_levels
        obs columns of the batch effects and their levels, in the order of the embedding.
    target_sums
        Total that each modality's spots were normalised to, by modality; empty where they were not.
    contrasts
        What says the contributions; None: the angle about the origin does.
    shifts
        Of the samples' encoder inputs, where neighbours were taken across samples.
    """

    module: Module
    config: IntegrateConfig
    batch_columns: tuple[str, ...]
    batch_levels: tuple[tuple[str, ...], ...]
    target_sums: dict[str, float] = field(default_factory=dict)
    contrasts: Contrasts | None = None
    shifts: Shifts | None = None

    def encode(self, joint: ad.AnnData) -> Embeddings:
        """Embeddings of the spots of *joint*, which may be new; it must have all features of the training."""
        return encode(self.module, self._dataset(joint))

    def _dataset(self, joint: ad.AnnData) -> Dataset:
        matrices = matrices_of(joint, self.module.modalities, self.config)
        return make_dataset(joint, matrices, self.module, np.zeros((joint.n_obs, 0), dtype=np.int64), self.shifts)[0]

    def place(self, joint: ad.AnnData) -> ad.AnnData:
        """A new object with the embeddings and contributions that :func:`integrate` writes, for spots that may be new.

        ``layers['normalized']`` must be normalised to :attr:`target_sums`. ``uns['spatialmeta']['encoded']`` names the
        samples that keep their batch effect, as ``not_shifted`` (:meth:`not_shifted`).
        """
        out, dataset = share(joint), self._dataset(joint)
        embeddings = encode(self.module, dataset)
        write_embeddings(out, embeddings, self.contributions(embeddings, dataset))
        about = {"not_shifted": np.array(self.not_shifted(joint), dtype=str)}
        out.uns[keys.UNS] = {**joint.uns.get(keys.UNS, {}), keys.ENCODED: about}
        return out

    def not_shifted(self, joint: ad.AnnData) -> list[str]:
        """Samples of *joint* that the training did not have, where it moved its samples onto each other; "" is what
        has no name."""
        return sorted(set(samples_of(joint)) - set(self.shifts.samples)) if self.shifts else []

    def contributions(self, embeddings: Embeddings, dataset: Dataset) -> dict[str, np.ndarray]:
        """Share of each modality in the joint embedding, shape (spots,), in [0, 1] with sum 1 (paper, eq. 20-21)."""
        if self.contrasts is None:
            return about_origin(embeddings.joint, embeddings.single)
        return self.contrasts.contributions(dataset, embeddings.joint)

    def decode(self, latent: np.ndarray, *, correct_to: str = "") -> dict[str, np.ndarray]:
        """Expected values of latent means (n, n_latent) by modality, for a level of the first batch column or, if
        empty, the mean batch. Counts: shares of the spot's total; intensities: the scale of training."""
        level = self.level(correct_to)
        device = next(self.module.parameters()).device
        parts: dict[str, list[np.ndarray]] = {m.name: [] for m in self.module.modalities}
        self.module.eval()
        with torch.no_grad():
            for start in range(0, len(latent), CHUNK):
                z = torch.from_numpy(np.asarray(latent[start : start + CHUNK], dtype=np.float32)).to(device)
                codes = torch.full((len(z), len(self.batch_levels)), -1, device=device)
                codes[:, :1] = level
                for m in self.module.modalities:
                    values = self.module.decode(z, codes)[m.name]
                    if m.likelihood not in COUNT_LIKELIHOODS:
                        values = self.module.transforms[m.name].inverse(values).clamp_min(0)
                    parts[m.name].append(values.cpu().numpy())
        return {name: np.concatenate(pieces) for name, pieces in parts.items()}

    def level(self, name: str) -> int:
        """Number of a level of the first batch column, -1 for '', the mean batch; DataError for another name."""
        if not name:
            return -1
        levels = self.batch_levels[0] if self.batch_levels else ()
        if name not in levels:
            raise DataError(f"correct_to to be one of {', '.join(levels) or 'no levels'}", found=name)
        return levels.index(name)

    def save(self, path: Path) -> None:
        """Write weights and settings; :func:`load` reads them back."""
        modalities = [{**vars(m), "features": list(m.features)} for m in self.module.modalities]
        content = {
            "format": FORMAT,
            "config": as_plain(self.config),
            "modalities": modalities,
            "batch_columns": list(self.batch_columns),
            "batch_levels": [list(levels) for levels in self.batch_levels],
            "target_sums": {str(name): float(value) for name, value in self.target_sums.items()},
            "contrasts": self.contrasts and self.contrasts.as_tensors(),
            "shifts": self.shifts and self.shifts.as_tensors(),
            "weights": {name: value.cpu() for name, value in self.module.state_dict().items()},
        }
        checkpoint.write(Path(path), content)


def load(path: Path) -> Model:
    """Read a model saved by :meth:`Model.save`; runs no code from the file. On the CPU, in evaluation mode."""
    content = checkpoint.read(Path(path))
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise FormatError(f"a model file of format {FORMAT}", found=str(found))
    config = from_mapping(IntegrateConfig, content["config"])
    modalities = [Modality(**{**m, "features": tuple(m["features"])}) for m in content["modalities"]]
    levels = tuple(tuple(names) for names in content["batch_levels"])
    module = Module(modalities, tuple(len(names) for names in levels), config)
    module.load_state_dict(content["weights"])
    contrasts, shifts = content.get("contrasts"), content.get("shifts")
    return Model(
        module.eval(),
        config,
        tuple(content["batch_columns"]),
        levels,
        content.get("target_sums", {}),
        contrasts and Contrasts.from_tensors(contrasts),
        shifts and Shifts.from_tensors(shifts),
    )


def make_dataset(
    joint: ad.AnnData,
    matrices: Mapping[str, sparse.csr_matrix],
    module: Module,
    codes: np.ndarray,
    shifts: Shifts | None = None,
) -> tuple[Dataset, Shifts | None]:
    """The spots with their neighbours, ready to be taken, and the samples' shifts: those given, else as found."""
    config, found = module.config, None
    transforms = copy.deepcopy(module.transforms).cpu()
    if config.neighbours and config.neighbour_weight:
        if keys.SPATIAL not in joint.obsm:
            raise DataError(f"obsm['{keys.SPATIAL}']", found="none", mend="Set neighbours to 0.")
        xy = np.asarray(joint.obsm[keys.SPATIAL], dtype=float)[:, :2]
        found = mixing(matrices, transforms, xy, samples_of(joint), config=config, shifts=shifts)
    known = {name: measured(joint, name) for name in matrices}
    dataset = Dataset(matrices, codes, *((found.weights, found.correction) if found else (None, None)), known)
    dataset.prepare(transforms)
    return dataset, found.shifts if found else None


def encode(module: Module, dataset: Dataset) -> Embeddings:
    device = next(module.parameters()).device
    module.eval()
    joint, single = [], {m.name: [] for m in module.modalities}
    with torch.no_grad():
        for start in range(0, len(dataset), CHUNK):
            rows = np.arange(start, min(start + CHUNK, len(dataset)))
            posterior = module.encode(module.inputs(dataset.take(rows, device)))
            joint.append(posterior.mean.cpu().numpy())
            for name, mean in posterior.single.items():
                single[name].append(mean.cpu().numpy())
    return Embeddings(np.concatenate(joint), {name: np.concatenate(parts) for name, parts in single.items()})


def share(joint: ad.AnnData) -> ad.AnnData:
    """A new object that shares the matrices of *joint*."""
    return ad.AnnData(
        X=joint.X,
        obs=joint.obs.copy(),
        var=joint.var.copy(),
        layers=dict(joint.layers),
        obsm=dict(joint.obsm),
        obsp=dict(joint.obsp),
        varm=dict(joint.varm),
        uns=dict(joint.uns),
    )


def write_embeddings(out: ad.AnnData, embeddings: Embeddings, contributions: Mapping[str, np.ndarray]) -> None:
    out.obsm[keys.X_EMB] = embeddings.joint
    for name, mean in embeddings.single.items():
        out.obsm[keys.X_EMB_MODALITY[name]] = mean
    for name, values in contributions.items():
        out.obs[keys.CONTRIBUTION[name]] = values
