"""Colours of categories: what the pages paint with, and what `uns['<column>_colors']` gets where a file has none."""

#: The first six of Okabe & Ito (2008); each next one is the colour of the sRGB cube (16 levels, lightness 30 to 90,
#: chroma from 20) that lies farthest from all before it, in CIEDE2000 as normal, protan, deutan and tritan eyes see it.
CATEGORIES = (
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#881155", "#eeddaa", "#aa0000", "#446644",
    "#4400dd", "#aa4477", "#8877ff", "#ccee55", "#88bb77", "#aaddff", "#334488", "#ddaaaa", "#997755", "#bb4411",
    "#66eecc", "#6633ff", "#bbcc66", "#ee6688",
)  # fmt: skip
