"""What the authors' Dash wrapper costs per interaction: `wrapper.py DATA.h5ad GENE GENE REPEATS`.

Its own code and callbacks, answered by its own Flask server inside this process (no network). torchvision, which it
needs only to shrink the histology once, is stood in for by Pillow, and plotly's create_distplot, which newer versions
no longer have, by a plain histogram (less work than the original). Its layout uses an id twice, which Dash of today
refuses to serve: that check is left out. Nothing else is changed.
"""

import json
import statistics
import sys
import time
import types


def without_torchvision():
    try:
        import torchvision  # noqa: F401
    except ImportError:
        from PIL import Image

        functional = types.ModuleType("torchvision.transforms.functional")
        functional.to_pil_image = Image.fromarray
        functional.resize = lambda image, size: image.resize(size[::-1])
        for name in ("torchvision", "torchvision.transforms"):
            sys.modules[name] = types.ModuleType(name)
        sys.modules[functional.__name__] = functional


def without_distplot():
    import plotly.figure_factory as factory
    import plotly.graph_objects as go

    if not hasattr(factory, "create_distplot"):
        factory.create_distplot = lambda values, names, **_: go.Figure(
            [go.Histogram(x=v, name=n) for v, n in zip(values, names, strict=True)]
        )


def the_wrapper():
    """Its class, without the rest of the package, whose __init__ loads all models."""
    import importlib.util

    root = importlib.util.find_spec("spatialmeta").submodule_search_locations[0]
    for name in ("spatialmeta", "spatialmeta.plotting", "spatialmeta.plotting.core"):
        module = types.ModuleType(name)
        module.__path__ = [root + name.removeprefix("spatialmeta").replace(".", "/")]
        sys.modules[name] = module
    without_torchvision()
    without_distplot()
    import dash._validate

    dash._validate.validate_layout = lambda *_: None
    import matplotlib.cm  # noqa: F401  (the wrapper reads it without importing it)
    from spatialmeta.plotting.core.wrapper import Wrapper

    return Wrapper


def main(path, first, second, repeats):
    import anndata

    start = time.perf_counter()
    wrapper = the_wrapper()(anndata.read_h5ad(path))
    app = wrapper.to_plotly(init_feature=first)
    client = app.server.test_client()
    prepared = time.perf_counter() - start

    def timed(call):
        begin = time.perf_counter()
        answer = call()
        assert answer.status_code == 200, answer.data[:500]
        return time.perf_counter() - begin, len(answer.data)

    def ask(output, inputs, **more):
        return client.post("/_dash-update-component", json={"output": output, "inputs": inputs, **more})

    by_input = {}
    for key, callback in app.callback_map.items():
        by_input.setdefault(",".join(i["id"] for i in callback["inputs"]), key)

    def outputs(key):
        parts = key.strip(".").split("...")
        found = [dict(zip(("id", "property"), part.split(".", 1), strict=True)) for part in parts]
        return found if key.startswith("..") else found[0]

    def recolour(gene):
        key = by_input["feature_name_select,display-dropdown"]
        inputs = [
            {"id": "feature_name_select", "property": "value", "value": gene},
            {"id": "display-dropdown", "property": "value", "value": "expression"},
        ]
        changed = ["feature_name_select.value"]
        return timed(lambda: ask(key, inputs, outputs=outputs(key), changedPropIds=changed))

    def select(points):
        key = by_input["main_graph,feature_name_select"]
        value = {"points": [{"curveNumber": 1, "pointNumber": i, "pointIndex": i, "x": 0.0, "y": 0.0} for i in points]}
        inputs = [
            {"id": "main_graph", "property": "selectedData", "value": value},
            {"id": "feature_name_select", "property": "value", "value": first},
        ]
        body = {"output": key, "outputs": outputs(key), "inputs": inputs, "changedPropIds": ["main_graph.selectedData"]}
        seconds, size = timed(lambda: client.post("/_dash-update-component", json=body))
        return seconds, size + len(json.dumps(body))  # every chosen point travels to the server

    layout = timed(lambda: client.get("/_dash-layout"))
    colours = [recolour((first, second)[i % 2]) for i in range(repeats)]
    n = wrapper.adata.n_obs
    chosen = [select(range(n // 10)) for _ in range(repeats)]
    print(
        json.dumps(
            {
                "prepared_s": prepared,
                "first": layout,
                "recolour": [statistics.median(s for s, _ in colours), colours[-1][1]],
                "selection": [statistics.median(s for s, _ in chosen), chosen[-1][1]],
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
