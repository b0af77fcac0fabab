"""SpatialGlue as its tutorial for spots: PCA of log genes and of CLR metabolites, 600 epochs. It corrects no batches;
samples are laid side by side so that their spots are no neighbours."""

import contextlib
import sys

import numpy as np
import scanpy as sc
from joint import Clock, given, parts
from SpatialGlue.preprocess import clr_normalize_each_cell, construct_neighbor_graph, fix_seed, pca
from SpatialGlue.SpatialGlue_pyG import Train_SpatialGlue

joint, out, _, _ = given()
sample = joint.obs["sample"].astype("category").cat.codes.to_numpy()
joint.obsm["spatial"] = joint.obsm["spatial"] + np.outer(sample, [10 * np.ptp(joint.obsm["spatial"]), 0])
genes, metabolites = parts(joint)
fix_seed(2022)
with contextlib.redirect_stdout(sys.stderr):
    sc.pp.normalize_total(genes, target_sum=1e4)
    sc.pp.log1p(genes)
    sc.pp.scale(genes)
    metabolites.X = metabolites.X.toarray()  # its CLR reads an attribute that sparse matrices no longer have
    metabolites = clr_normalize_each_cell(metabolites)
    sc.pp.scale(metabolites)
    n = min(50, genes.n_vars - 1, metabolites.n_vars - 1)
    genes.obsm["feat"], metabolites.obsm["feat"] = pca(genes, n_comps=n), pca(metabolites, n_comps=n)
    data = construct_neighbor_graph(genes, metabolites, datatype="SPOTS")
    clock = Clock()
    found = Train_SpatialGlue(data, datatype="SPOTS").train()
    clock.stop()
clock.answer(out, embedding=found["SpatialGlue"])
