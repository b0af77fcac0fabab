"""The authors' alignment by outline: ST SM ITERATIONS OUT.npy; for the peers' environment.

SM's `obsm['spatial']` must be flipped and turned by hand first: the package searches no orientation. Its two VAEs are
made but not trained, because the outline mode reads them for its plots alone. OUT gets where each pixel comes to lie,
in full-resolution ST pixels.
"""

import json
import sys

import matplotlib

matplotlib.use("Agg")

import anndata as ad
import authors  # noqa: F401 - puts right what the package lacks
import numpy as np
from scipy.spatial import Delaunay
from spatialmeta.model._alignment_model import AlignmentVAE

Delaunay.vertices = property(lambda self: self.simplices)  # its name until SciPy 1.11
st, sm = (ad.read_h5ad(path) for path in sys.argv[1:3])
x = sm.obsm["spatial"][:, 0]
sm.obsm["spatial"] = (sm.obsm["spatial"] - x.min()) / np.ptp(x) * 100  # as the package's own example
model = AlignmentVAE(adata_st=st, adata_sm=sm, n_latent=10)
model.eval()
data = model.random_sample_inside_image_spot(model.get_rasterized_feature_map(), threshold1=0.9)
fitted = model.fit_alignment(data, niter=int(sys.argv[3]), diffeo_start=int(sys.argv[3]))
last = fitted[max(fitted)]
np.save(sys.argv[4], last["pointsIt"] / data["data"]["scale"])
print(json.dumps({"iterations": len(fitted), "loss": float(last["loss"][2])}))
