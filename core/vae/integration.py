"""The step: train on a joint object, write what was learnt into a new one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import anndata as ad
import numpy as np
import torch
from scipy import sparse

from core import keys
from core.context import Context
from core.errors import DataError, NotConvergedError
from core.options import check
from core.vae.config import IntegrateConfig, as_plain
from core.vae.contributions import learn
from core.vae.data import column_moments
from core.vae.inputs import batch_codes, columns_of, matrices_of, modalities_of, normalized_total, settle
from core.vae.modality import COUNT_LIKELIHOODS, TRANSFORMS
from core.vae.model import CHUNK, Embeddings, Model, encode, make_dataset, share, write_embeddings
from core.vae.module import Module
from core.vae.train import TrainingHistory, fit


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
        ``terms`` (loss history by term), ``config``, ``best_epoch``, ``stopped``, ``device``,
        ``mixed_precision``.

    The trained model is left as ``model.pt`` in the checkpoint folder of *context*, if it has one.

    Raises
    ------
    DataError
        A slot is missing, or values are negative or not finite.
    NotConvergedError
        The loss became NaN; the best weights so far are in ``model.pt``.
    """
    config, context = config or IntegrateConfig(), context or Context()
    settings = settle(joint, check(config))
    columns, levels, codes = batch_codes(joint, settings)
    modalities = modalities_of(joint, settings)
    matrices = matrices_of(joint, modalities, settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        module = Module(modalities, tuple(len(names) for names in levels), settings)
    _fit_transforms(module, matrices)
    dataset, shifts = make_dataset(joint, matrices, module, codes)
    target_sums = dict(joint.uns.get(keys.UNS, {}).get(keys.TARGET_SUMS, {}))
    model = Model(module, settings, columns, levels, target_sums, shifts=shifts)
    _check_output(joint, model)
    context.progress(0.0, f"training on {len(dataset)} spots")
    try:
        history = fit(module, dataset, settings, context)
    except NotConvergedError:
        _keep(model, context)
        raise
    embeddings = encode(module, dataset)
    if settings.contributions == "contrasts" and len(modalities) > 1:
        contrasts, contributions = learn(dataset, embeddings.joint)
        model = replace(model, contrasts=contrasts)
    else:
        contributions = model.contributions(embeddings, dataset)
    _keep(model, context)
    return _result(joint, model, embeddings, contributions, history)


def _check_output(joint: ad.AnnData, model: Model) -> None:
    """Refuse before the training what could not be written after it."""
    model.level(model.config.correct_to)
    counted = any(m.likelihood in COUNT_LIKELIHOODS for m in model.module.modalities)
    if model.config.reconstruct and counted and keys.NORMALIZED not in joint.layers:
        raise DataError(
            f"layers['{keys.NORMALIZED}'], whose scale the reconstruction has",
            found=", ".join(joint.layers),
            mend="Run features first, or switch reconstruct off.",
        )


def _keep(model: Model, context: Context) -> None:
    if context.checkpoints is not None:
        Path(context.checkpoints).mkdir(parents=True, exist_ok=True)
        model.save(Path(context.checkpoints) / keys.MODEL_FILE)


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


def _result(
    joint: ad.AnnData,
    model: Model,
    embeddings: Embeddings,
    contributions: Mapping[str, np.ndarray],
    history: TrainingHistory,
) -> ad.AnnData:
    """A new object that has the outputs beside what *joint* has."""
    out = share(joint)
    write_embeddings(out, embeddings, contributions)
    if model.config.reconstruct:
        out.layers[keys.RECONSTRUCTION] = _reconstruction(joint, model, embeddings.joint)
    training = {
        "terms": history.terms,
        "config": as_plain(model.config),
        "best_epoch": history.best_epoch,
        "stopped": history.stopped,
        "device": str(next(model.module.parameters()).device),
        "mixed_precision": history.mixed_precision,
    }
    out.uns[keys.UNS] = {**joint.uns.get(keys.UNS, {}), keys.TRAINING: training}
    return out


def _reconstruction(joint: ad.AnnData, model: Model, latent: np.ndarray) -> np.ndarray | sparse.csr_matrix:
    """Shape (spots, features of *joint*); see :func:`integrate` for scale and layout."""
    modalities = model.module.modalities
    columns = np.concatenate([columns_of(joint, m) for m in modalities])
    order = np.argsort(columns)
    values = np.empty((joint.n_obs, len(columns)), dtype=np.float32)
    totals = {m.name: normalized_total(joint, m) for m in modalities if m.likelihood in COUNT_LIKELIHOODS}
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
