"""The authors' alignment by outline: ST SM ITERATIONS TO OUT.npy; for the peers' environment.

SM's `obsm['spatial']` must be flipped and turned by hand first: the package searches no orientation. TO is what SM's
outline is laid on: 'histology' (the package's default) or 'ST', the spots. Its two VAEs are made but not trained: in
the outline mode their latents go into its plots alone, and training them would add about 16 CPU minutes. OUT gets where
each pixel comes to lie, in full-resolution ST pixels.

What had to be put right, beside :mod:`authors`:

- SciPy 1.11 dropped `Delaunay.vertices`, which the alpha shape reads; it is `simplices` under its old name.
- Without a folder for plots, `os.path.exists(None)` raises, whatever the documentation says; it gets an empty one that
  does not exist, so that nothing is plotted.
"""

import json
import sys

import matplotlib

matplotlib.use("Agg")

import anndata as ad
import authors  # noqa: F401 - puts right what the package lacks
import numpy as np
from scipy.spatial import Delaunay
from spatialmeta.model import AlignmentModule, _alignment_module

st_path, sm_path, iterations, to, out_path = sys.argv[1:6]
Delaunay.vertices = property(lambda self: self.simplices)
exists = _alignment_module.os.path.exists
_alignment_module.os = type("Os", (), {"path": type("Path", (), {"exists": lambda path: path and exists(path)})})
st, sm = ad.read_h5ad(st_path), ad.read_h5ad(sm_path)
x = sm.obsm["spatial"][:, 0]
sm.obsm["spatial"] = (sm.obsm["spatial"] - x.min()) / np.ptp(x) * 100  # as the package's own example
model = AlignmentModule(adata_st=st, adata_sm=sm, n_latent=10)
model.eval()
data = model.random_sample_inside_image_spot(model.get_rasterized_feature_map(), threshold1=0.9)
fitted = model.fit_alignment(data, niter=int(iterations), align_sm_spot_to=to)
last = fitted[max(fitted)]
np.save(out_path, last["pointsIt"] / data["data"]["scale"])
print(json.dumps({"iterations": len(fitted), "loss": float(last["loss"][2])}))
