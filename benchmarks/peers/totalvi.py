"""totalVI of scvi-tools, with rounded intensities in the place of protein counts."""

import contextlib
import sys

import numpy as np
import pandas as pd
import scvi
from joint import Clock, given, parts

joint, out, epochs, reconstruct = given()
scvi.settings.seed = 0
genes, metabolites = parts(joint)
values = metabolites.layers["normalized"].toarray()
scale = 100 / max(np.median(values[values > 0]), 1e-9)  # counts: whole numbers with a median of 100
genes.obsm["metabolites"] = pd.DataFrame(
    np.round(values * scale).clip(max=1e6), index=genes.obs_names, columns=metabolites.var_names
)
with contextlib.redirect_stdout(sys.stderr):
    scvi.model.TOTALVI.setup_anndata(genes, protein_expression_obsm_key="metabolites", batch_key="sample")
    model = scvi.model.TOTALVI(genes, n_latent=10, empirical_protein_background_prior=False)
    clock = Clock()
    size = 128 if genes.n_obs * 0.9 % 128 != 1 else 127
    model.train(max_epochs=epochs, batch_size=size, accelerator="cpu", enable_progress_bar=False)
    clock.stop()
    arrays = {"embedding": model.get_latent_representation()}
    if reconstruct:
        st, sm = model.get_normalized_expression(n_samples=5, return_mean=True)
        arrays |= {"st": st.to_numpy(), "sm": sm.to_numpy()}
clock.answer(out, **arrays)
