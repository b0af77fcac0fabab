"""The step 'align': the method, after the training of two VAEs where its settings want their latents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core import keys
from core.context import Context, Share
from core.registration import AlignConfig

if TYPE_CHECKING:  # the web process reads the Config and must stay free of anndata
    from anndata import AnnData

#: of the two VAEs (paper: one for each modality): every spot alone, since the pictures are averaged afterwards
_BOTH = {"n_latent": 10, "neighbours": 0, "reconstruct": False}
VAE = {keys.ST: {**_BOTH, "preset": "single"}, keys.SM: {**_BOTH, "preset": "sm-only"}}
LEAST_EPOCHS, LEAST_SPOTS = 30, 32_000  # passes over all spots, and spots seen in all: small sections need more passes
MOST_FEATURES = 1000  # the most variable ones after normalisation
TRAINING = 0.5  # of the progress bar


def align(st: AnnData, sm: AnnData, config: AlignConfig, context: Context) -> AnnData:
    """:func:`core.registration.align`; for ``latents='vae'`` sections without ``obsm['X_emb_st']`` and
    ``obsm['X_emb_sm']`` get them first."""
    from core.registration import align as method

    if config.latents != "vae" or not config.compares_values:
        return method(st, sm, config, context)
    half = TRAINING / 2
    st = _with_latent(st, keys.ST, Share(context, 0.0, half, "VAE of ST: "))
    sm = _with_latent(sm, keys.SM, Share(context, half, TRAINING, "VAE of SM: "))
    return method(st, sm, config, Share(context, TRAINING, 1.0))


def _with_latent(section: AnnData, modality: str, context: Share) -> AnnData:
    """A copy of *section* with the latent of a VAE of its own, (n, 10), unless it has one."""
    import numpy as np
    from anndata import AnnData

    from core.preprocessing import normalize_modalities
    from core.vae import IntegrateConfig, integrate

    slot = keys.X_EMB_MODALITY[modality]
    if slot in section.obsm:
        return section
    counts = section.layers.get(keys.COUNTS, section.X)
    alone = AnnData(counts.copy(), obs=section.obs[[]].copy(), var=section.var[[]].copy(), layers={keys.COUNTS: counts})
    alone.var[keys.TYPE] = modality
    normalize_modalities(alone)
    normalized = alone.layers[keys.NORMALIZED]
    variance = np.asarray(normalized.power(2).mean(axis=0) - np.square(normalized.mean(axis=0))).ravel()
    alone.var[keys.SELECTED] = np.isin(np.arange(alone.n_vars), np.argsort(-variance)[:MOST_FEATURES])
    context.checkpoints = None  # a model that is not kept
    epochs = max(LEAST_EPOCHS, LEAST_SPOTS // alone.n_obs)
    learned = integrate(alone, IntegrateConfig(**VAE[modality], epochs=epochs), context)
    section = section.copy()
    section.obsm[slot] = np.asarray(learned.obsm[keys.X_EMB])
    return section
