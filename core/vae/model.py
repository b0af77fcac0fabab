"""The AnnData edge of the conditional VAE: what goes in, what comes out, and the trained model as a file."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import anndata as ad
import numpy as np
import torch
from scipy import sparse

from core import keys
from core.context import Context
from core.errors import DataError, FormatError, NotConvergedError
from core.options import check, from_mapping
from core.vae import checkpoint
from core.vae.across import Shifts
from core.vae.config import SM_ONLY, IntegrateConfig, as_plain, resolve
from core.vae.contributions import Contrasts, about_origin, learn
from core.vae.data import Dataset, column_moments
from core.vae.mixing import mixing
from core.vae.modality import COUNT_LIKELIHOODS, TRANSFORMS, Modality
from core.vae.module import Module
from core.vae.train import TrainingHistory, fit

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
        return _encode(self.module, self._dataset(joint))

    def _dataset(self, joint: ad.AnnData) -> Dataset:
        matrices = {m.name: _matrix(joint, m, self.config) for m in self.module.modalities}
        return _dataset(joint, matrices, self.module, np.zeros((joint.n_obs, 0), dtype=np.int64), self.shifts)[0]

    def place(self, joint: ad.AnnData) -> ad.AnnData:
        """A new object with the embeddings and contributions that :func:`integrate` writes, for spots that may be new.

        ``layers['normalized']`` must be normalised to :attr:`target_sums`.
        """
        out, dataset = _share(joint), self._dataset(joint)
        embeddings = _encode(self.module, dataset)
        _write_embeddings(out, embeddings, self.contributions(embeddings, dataset))
        return out

    def contributions(self, embeddings: Embeddings, dataset: Dataset) -> dict[str, np.ndarray]:
        """Share of each modality in the joint embedding, shape (spots,), in [0, 1] with sum 1 (paper, eq. 20-21)."""
        if self.contrasts is None:
            return about_origin(embeddings.joint, embeddings.single)
        return self.contrasts.contributions(dataset, embeddings.joint)

    def decode(self, latent: np.ndarray, *, correct_to: str = "") -> dict[str, np.ndarray]:
        """Expected values of latent means (n, n_latent) by modality, for a level of the first batch column or, if
        empty, the mean batch. Counts: shares of the spot's total; intensities: the scale of training."""
        level = self._level(correct_to)
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

    def _level(self, name: str) -> int:
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


def integrate(joint: ad.AnnData, config: IntegrateConfig | None = None, context: Context | None = None) -> ad.AnnData:
    """Learn the joint embedding of all modalities of *joint* (paper, eq. 8-23).

    Reads ``var['type']``, ``var['selected']`` (all features where it is missing), ``layers['counts']``,
    ``layers['normalized']``, the batch columns of obs and ``obsm['spatial']`` where neighbours are used.

    Writes
    ------
    ``obsm['X_emb']``, ``obsm['X_emb_st']``, ``obsm['X_emb_sm']``
        Posterior means (no random draw), float32.
    ``obs['contribution_st']``, ``obs['contribution_sm']``
        Angular similarity of the joint embedding to what each modality tells, scaled to a sum of 1 (eq. 20-21);
        :mod:`core.vae.contributions` has the two forms.
    ``layers['reconstruction']``
        Denoised, batch-corrected values on the scale of ``normalized`` (ST: log1p of the rate times the spot's
        normalised total over the selected genes), decoded from the mean of z. Features that are not selected have
        no entry: the layer is CSR then, and a dense float32 array where all features are selected.
    ``uns['spatialmeta']['training']``
        ``terms`` (loss history by term), ``config``, ``best_epoch``, ``stopped``, ``device``.

    The trained model is left as ``model.pt`` in the checkpoint folder of *context*, if it has one.

    Raises
    ------
    DataError
        A slot is missing, or values are negative or not finite.
    NotConvergedError
        The loss became NaN; the best weights so far are in ``model.pt``.
    """
    config, context = config or IntegrateConfig(), context or Context()
    settings = _settle(joint, check(config))
    columns, levels, codes = _batches(joint, settings)
    modalities = _modalities(joint, settings)
    matrices = {m.name: _matrix(joint, m, settings) for m in modalities}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        module = Module(modalities, tuple(len(names) for names in levels), settings)
    _fit_transforms(module, matrices)
    dataset, shifts = _dataset(joint, matrices, module, codes)
    target_sums = dict(joint.uns.get(keys.UNS, {}).get(keys.TARGET_SUMS, {}))
    model = Model(module, settings, columns, levels, target_sums, shifts=shifts)
    context.progress(0.0, f"training on {len(dataset)} spots")
    try:
        history = fit(module, dataset, settings, context)
    except NotConvergedError:
        _keep(model, context)
        raise
    embeddings = _encode(module, dataset)
    if settings.contributions == "contrasts" and len(modalities) > 1:
        model = replace(model, contrasts=learn(dataset, embeddings.joint))
    _keep(model, context)
    return _result(joint, model, dataset, embeddings, history)


def _keep(model: Model, context: Context) -> None:
    if context.checkpoints is not None:
        Path(context.checkpoints).mkdir(parents=True, exist_ok=True)
        model.save(Path(context.checkpoints) / keys.MODEL_FILE)


def _settle(joint: ad.AnnData, config: IntegrateConfig) -> IntegrateConfig:
    """Fill what *config* leaves to the data."""
    if keys.TYPE not in joint.var:
        raise DataError(f"var['{keys.TYPE}'] to say ST or SM", found="no such column", mend="Run reassignment first.")
    types = set(joint.var[keys.TYPE].astype(str))
    present = [c for c in config.batch_columns if c in joint.obs]
    n_samples = joint.obs[present[0]].nunique() if present else 1
    return resolve(config, n_samples=n_samples, has_st=keys.ST in types, has_spatial=keys.SPATIAL in joint.obsm)


def _batches(
    joint: ad.AnnData, config: IntegrateConfig
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...], np.ndarray]:
    """Batch columns of more than one level, their levels, and each spot's codes (spots, columns)."""
    columns, levels, codes = [], [], []
    for column in config.batch_columns:
        if column not in joint.obs:
            if column == keys.SAMPLE:  # the default: a single sample need not say its name
                continue
            raise DataError(f"the batch column {column} in obs", found=", ".join(joint.obs.columns) or "no columns")
        names, code = np.unique(joint.obs[column].astype(str).to_numpy(), return_inverse=True)
        if len(names) > 1:
            columns.append(column)
            levels.append(tuple(str(n) for n in names))
            codes.append(code)
    stacked = np.stack(codes, axis=1) if codes else np.zeros((joint.n_obs, 0), dtype=np.int64)
    return tuple(columns), tuple(levels), stacked


def _modalities(joint: ad.AnnData, config: IntegrateConfig) -> list[Modality]:
    """One entry per type in var; this is the place where a further modality would be described."""
    described = {
        keys.ST: {
            "likelihood": "zinb",
            "input": config.st_input,
            "weight": config.weight_st,
            "dispersion": config.dispersion,
        },
        keys.SM: {"likelihood": config.sm_likelihood, "input": config.sm_input, "weight": config.weight_sm},
    }
    if config.preset in SM_ONLY:
        described.pop(keys.ST)
    types = joint.var[keys.TYPE].astype(str).to_numpy()
    selected = (
        joint.var[keys.SELECTED].to_numpy(dtype=bool) if keys.SELECTED in joint.var else np.ones(len(types), bool)
    )
    names = joint.var_names.to_numpy().astype(str)
    found = [
        Modality(name=name, features=tuple(names[(types == name) & selected].tolist()), **rest)
        for name, rest in described.items()
        if ((types == name) & selected).any()
    ]
    if not found:
        wanted = " or ".join(described)
        raise DataError(f"selected features of type {wanted}", found="none", mend="Select features first.")
    return found


def _columns(joint: ad.AnnData, modality: Modality) -> np.ndarray:
    at = joint.var_names.get_indexer(list(modality.features))
    if (at < 0).any():
        missing = [f for f, k in zip(modality.features, at, strict=True) if k < 0]
        raise DataError(
            f"all {len(at)} {modality.name} features of the model", found=f"{len(missing)} missing, e.g. {missing[0]}"
        )
    return at


def _dataset(
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
        names = joint.obs[keys.SAMPLE].astype(str).to_numpy() if keys.SAMPLE in joint.obs else np.full(len(codes), "")
        xy = np.asarray(joint.obsm[keys.SPATIAL], dtype=float)[:, :2]
        found = mixing(matrices, transforms, xy, names, config=config, shifts=shifts)
    dataset = Dataset(matrices, codes, *((found.weights, found.correction) if found else ()))
    dataset.prepare(transforms)
    return dataset, found.shifts if found else None


def _matrix(joint: ad.AnnData, modality: Modality, config: IntegrateConfig) -> sparse.csr_matrix:
    """Values of one modality, shape (spots, features), float32, checked."""
    as_counts = modality.likelihood in COUNT_LIKELIHOODS or not config.normalize_sm
    layer = keys.COUNTS if as_counts else keys.NORMALIZED
    if layer not in joint.layers:
        raise DataError(f"layers['{layer}']", found=", ".join(joint.layers) or "no layers", mend="Run features first.")
    matrix = sparse.csr_matrix(joint.layers[layer][:, _columns(joint, modality)], dtype=np.float32)
    bad = ~np.isfinite(matrix.data) | (matrix.data < 0)
    if bad.any():
        k = int(np.argmax(bad))
        spot = int(np.searchsorted(matrix.indptr, k, side="right")) - 1
        raise DataError(
            f"finite values of at least 0 in layers['{layer}']",
            found=f"{int(bad.sum())} others, e.g. {matrix.data[k]:g} for {modality.features[matrix.indices[k]]} "
            f"in spot {joint.obs_names[spot]}",
            mend="Leave these spots out (reassign with missing spots dropped), or set the values to 0.",
        )
    matrix.eliminate_zeros()
    matrix.sum_duplicates()
    return matrix


def _fit_transforms(module: Module, matrices: Mapping[str, sparse.csr_matrix]) -> None:
    for modality in module.modalities:
        matrix, transform = matrices[modality.name], module.transforms[modality.name]
        kind = TRANSFORMS[modality.input]
        if kind.rate:
            transform.target_total.fill_(float(np.median(np.asarray(matrix.sum(1)))))
        if kind.standardize:
            mean, sd = column_moments(matrix, log=kind.log)
            transform.shift.copy_(torch.from_numpy(mean))
            transform.scale.copy_(torch.from_numpy(sd))


def _encode(module: Module, dataset: Dataset) -> Embeddings:
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


def _share(joint: ad.AnnData) -> ad.AnnData:
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


def _write_embeddings(out: ad.AnnData, embeddings: Embeddings, contributions: Mapping[str, np.ndarray]) -> None:
    out.obsm[keys.X_EMB] = embeddings.joint
    for name, mean in embeddings.single.items():
        out.obsm[keys.X_EMB_MODALITY[name]] = mean
    for name, share in contributions.items():
        out.obs[keys.CONTRIBUTION[name]] = share


def _result(
    joint: ad.AnnData, model: Model, dataset: Dataset, embeddings: Embeddings, history: TrainingHistory
) -> ad.AnnData:
    """A new object that has the outputs beside what *joint* has."""
    out = _share(joint)
    _write_embeddings(out, embeddings, model.contributions(embeddings, dataset))
    if model.config.reconstruct:
        out.layers[keys.RECONSTRUCTION] = _reconstruction(joint, model, embeddings.joint)
    training = {
        "terms": history.terms,
        "config": as_plain(model.config),
        "best_epoch": history.best_epoch,
        "stopped": history.stopped,
        "device": str(next(model.module.parameters()).device),
    }
    out.uns[keys.UNS] = {**joint.uns.get(keys.UNS, {}), keys.TRAINING: training}
    return out


def _reconstruction(joint: ad.AnnData, model: Model, latent: np.ndarray) -> np.ndarray | sparse.csr_matrix:
    """Shape (spots, features of *joint*); see :func:`integrate` for scale and layout."""
    modalities = model.module.modalities
    columns = np.concatenate([_columns(joint, m) for m in modalities])
    order = np.argsort(columns)
    values = np.empty((joint.n_obs, len(columns)), dtype=np.float32)
    totals = {m.name: _normalized_total(joint, m) for m in modalities if m.likelihood in COUNT_LIKELIHOODS}
    place = np.empty(len(columns), dtype=np.int64)
    place[order] = np.arange(len(columns))
    for start in range(0, joint.n_obs, CHUNK):
        rows = slice(start, start + CHUNK)
        decoded = model.decode(latent[rows], correct_to=model.config.correct_to)
        for name, total in totals.items():
            decoded[name] = np.log1p(decoded[name] * total[rows, None])
        values[rows, place] = np.concatenate([decoded[m.name] for m in modalities], axis=1)
    if len(columns) == joint.n_vars:
        return values
    n, p = values.shape
    index = np.int64 if n * p > np.iinfo(np.int32).max else np.int32
    indices = np.tile(np.sort(columns).astype(index), n)
    return sparse.csr_matrix((values.reshape(-1), indices, np.arange(0, n * p + 1, p, dtype=index)), joint.shape)


def _normalized_total(joint: ad.AnnData, modality: Modality) -> np.ndarray:
    """Sum of a spot's normalised rates over the modality's features, shape (spots,)."""
    if keys.NORMALIZED not in joint.layers:
        raise DataError(f"layers['{keys.NORMALIZED}']", found=", ".join(joint.layers), mend="Run features first.")
    rates = sparse.csr_matrix(joint.layers[keys.NORMALIZED][:, _columns(joint, modality)])
    return np.asarray(rates.expm1().sum(1)).ravel()
