"""The authors' model in the tutorial's form: SM normalised to 1e4 and scaled, mode by the number of samples.

The learning rate is 1e-3: with the package's default of 5e-5 it hardly learns in the tutorial's 64 epochs.
"""

import contextlib
import sys

import numpy as np
import scanpy as sc
from authors import spatialmeta
from joint import Clock, given, parts
from scipy import sparse

joint, out, epochs, reconstruct = given()
genes, metabolites = parts(joint)
sc.pp.normalize_total(metabolites, target_sum=1e4)
sc.pp.scale(metabolites, zero_center=False, max_value=10)
is_sm = (joint.var["type"] == "SM").to_numpy()
joint = joint[:, np.r_[np.flatnonzero(is_sm), np.flatnonzero(~is_sm)]].copy()
joint.X = sparse.hstack([sparse.csr_matrix(metabolites.X), sparse.csr_matrix(genes.X)], format="csr", dtype=np.float32)
if joint.n_obs % 128 == 1:  # its batch normalisation stops at a last batch of one spot
    joint = joint[:-1].copy()
several = joint.obs["sample"].nunique() > 1
with contextlib.redirect_stdout(sys.stderr):
    model = spatialmeta.model.ConditionalVAESTSM(joint, batch_keys=["sample"] if several else None, device="cpu")
    clock = Clock()
    model.fit(max_epoch=epochs, n_per_batch=128, mode="multi" if several else "single", lr=1e-3)
    clock.stop()
    arrays = {"embedding": model.get_latent_embedding(show_progress=False)}
    if reconstruct:
        arrays["contribution"] = model.get_modality_contribution()
        values = model.get_normalized_expression(show_progress=False)
        arrays["sm"], arrays["st"] = values[:, : is_sm.sum()], values[:, is_sm.sum() :]
        arrays["st"] = arrays["st"] / np.maximum(arrays["st"].sum(1, keepdims=True), 1e-9)
clock.answer(out, **arrays)
