"""Colours of categories: what the pages paint with, and what `uns['<column>_colors']` gets where a file has none."""

#: The first six of Okabe & Ito (2008); each next one is the colour of the sRGB cube (16 levels, lightness 42 to 90,
#: chroma from 22) that lies farthest from all before it, in CIEDE2000 as normal, protan, deutan and tritan eyes see it.
CATEGORIES = (
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#eeddaa", "#885566", "#bb1188", "#8877ff",
    "#ccee55", "#88bb77", "#aaddff", "#bb3300", "#447744", "#bb5588", "#ffbbbb", "#888844", "#8811ff", "#bbcc66",
    "#66eecc", "#ee6688", "#dd99aa", "#ff77dd",
)  # fmt: skip
