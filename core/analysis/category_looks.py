"""Names and colours that people gave to categories, written into the columns themselves and taken out again.

The ``categories`` member of an annotation document: ``{column: {category: {name, color}}}``, categories by
their names in the data.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from core import keys
from core.palette import CATEGORIES

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

MEMBER = "categories"
COLORS = "_colors"  # scanpy's suffix in uns for the colours of a column's categories


def changed_columns(adata: AnnData, document: Mapping[str, Any]) -> list[str]:
    """The columns of obs with categories whose look *document* changes."""
    return [c for c, looks in document.get(MEMBER, {}).items() if looks and c in adata.obs and _is_text(adata.obs[c])]


def apply_looks(adata: AnnData, document: Mapping[str, Any]) -> None:
    """Rename and recolour categories of *adata*, in place, as a user of scanpy expects them.

    ``obs[column]`` gets the new names (those that were given one name become one category), ``uns['<column>_colors']``
    a colour for each, and ``uns['spatialmeta']['categories']`` what there was before, for :func:`revert_looks`.
    """
    import pandas as pd

    before: dict[str, Any] = {}
    for column in changed_columns(adata, document):
        old = adata.obs[column].astype("category")
        looks = document[MEMBER][column]
        names = [str((looks.get(str(c)) or {}).get("name") or c) for c in old.cat.categories]
        stored = adata.uns.get(f"{column}{COLORS}")
        colors = _colors(old, looks, stored)
        fresh = list(dict.fromkeys(names))
        codes = np.append([fresh.index(name) for name in names], -1)[old.cat.codes]
        before[column] = {
            "names": np.array(old.cat.categories.astype(str), dtype=object),
            "codes": old.cat.codes.to_numpy(),
        }
        if stored is not None:
            before[column]["colors"] = np.array(stored, dtype=object)
        adata.obs[column] = pd.Categorical.from_codes(codes, categories=pd.Index(fresh, dtype=object))
        adata.uns[f"{column}{COLORS}"] = [colors[names.index(name)] for name in fresh]
    if before:
        adata.uns[keys.UNS] = dict(adata.uns.get(keys.UNS, {})) | {keys.CATEGORIES: before}


def revert_looks(adata: AnnData) -> None:
    """Give the categories of *adata*, in place, the names and colours they had before :func:`apply_looks`."""
    import pandas as pd

    ours = dict(adata.uns.get(keys.UNS, {}))
    for column, before in ours.pop(keys.CATEGORIES, {}).items():
        if column not in adata.obs or len(before["codes"]) != adata.n_obs:
            continue  # somebody took spots or the column out of the file since
        names = pd.Index([str(name) for name in before["names"]], dtype=object)
        adata.obs[column] = pd.Categorical.from_codes(before["codes"], categories=names)
        adata.uns.pop(f"{column}{COLORS}", None)
        if "colors" in before:
            adata.uns[f"{column}{COLORS}"] = [str(color) for color in before["colors"]]
    if keys.UNS in adata.uns:
        adata.uns[keys.UNS] = ours


def _is_text(column: pd.Series) -> bool:
    import pandas as pd

    return not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column)


def _colors(column: pd.Series, looks: Mapping[str, Any], stored: Any) -> list[str]:
    """A colour for each category: the chosen one, else the file's, else the one the pages show."""
    own = list(stored) if stored is not None and len(stored) >= len(column.cat.categories) else CATEGORIES
    chosen = [(looks.get(str(c)) or {}).get("color") for c in column.cat.categories]
    return [str(color or own[k % len(own)]) for k, color in enumerate(chosen)]
