"""The application as a whole: what it loads, what it sends, what it refuses."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import subprocess
import sys
from base64 import b64encode
from pathlib import Path

import dash
import pytest

from spatialmeta_app import create_app
from spatialmeta_app.components.shell import STEPS
from spatialmeta_app.config import PREFIX, Settings
from spatialmeta_app.serve import environment

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "scanpy", "squidpy", "umap", "numba", "sklearn", "pynndescent")


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> dash.Dash:
    return create_app(Settings(data=tmp_path_factory.mktemp("app") / "data", demo=False))


@pytest.fixture
def client(app: dash.Dash):
    return app.server.test_client()


def test_the_web_process_stays_light(tmp_path: Path) -> None:
    code = (
        "import sys, json, pathlib\n"
        "from spatialmeta_app import create_app\n"
        "from spatialmeta_app.config import Settings\n"
        f"app = create_app(Settings(data=pathlib.Path({str(tmp_path)!r}), demo=False))\n"
        "client = app.server.test_client()\n"
        "assert client.get('/').status_code == 200\n"
        "assert client.get('/_dash-layout').status_code == 200\n"
        f"print(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(ran.stdout.splitlines()[-1]) == []


def test_every_step_has_its_page(app: dash.Dash) -> None:
    templates = {page["path_template"] for page in dash.page_registry.values()}
    assert {f"/p/<project>/<sample>/{step.page}" for step in STEPS} <= templates
    assert {page["path"] for page in dash.page_registry.values()} >= {"/", "/help"}
    assert all(page["title"] for page in dash.page_registry.values())


def test_nothing_comes_from_another_host(app: dash.Dash, client) -> None:
    text = client.get("/").get_data(as_text=True)
    addresses = re.findall(r"""(?:src|href)=["']([^"']+)""", text)
    assert addresses
    assert [a for a in addresses if not a.startswith("/")] == []
    for address in addresses:
        with client.get(address) as answer:
            assert answer.status_code == 200, address


def test_the_policy_allows_exactly_the_inline_scripts_of_the_page(client) -> None:
    answer = client.get("/")
    policy = answer.headers["Content-Security-Policy"]
    directives = {part.split()[0]: part.split()[1:] for part in policy.split("; ")}
    assert directives["default-src"] == ["'self'"]
    assert directives["object-src"] == ["'none'"]
    assert "'unsafe-inline'" not in directives["script-src"]
    inline = re.findall(r"<script(?![^>]*src=)(?![^>]*application/json)[^>]*>(.*?)</script>", answer.text, re.DOTALL)
    hashes = {f"'sha256-{b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in inline}
    assert hashes
    assert hashes <= set(directives["script-src"])
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_the_theme_is_set_before_the_styles_are_read(client) -> None:
    text = client.get("/").get_data(as_text=True)
    assert '<html lang="en" data-bs-theme=' in text
    assert text.index("theme-init.js") < text.index("bootstrap.min.css") < text.index("theme.css")


def test_bootstrap_is_served_from_its_package_and_kept(client) -> None:
    with client.get("/vendor/bootstrap/css/bootstrap.min.css") as answer:
        assert b"Bootstrap  v5.3" in answer.data[:200]
        assert "immutable" in answer.headers["Cache-Control"]
    with client.get("/vendor/bootstrap/css/font/fonts/bootstrap-icons.woff2") as font:
        assert font.data[:4] == b"wOF2"
    assert client.get("/vendor/bootstrap/../../__init__.py").status_code == 404
    assert client.get("/vendor/bootstrap/%2e%2e/%2e%2e/__init__.py").status_code == 404


@pytest.mark.parametrize("sheet", ["base", "columns", "controls", "data", "home", "jobs", "narrow"])
def test_every_style_uses_only_colours_of_the_theme(sheet: str) -> None:
    text = (ROOT / "assets" / f"{sheet}.css").read_text(encoding="utf-8")
    assert re.findall(r"#[0-9a-fA-F]{3,8}\b(?=[^{}]*;)", text) == []
    used = set(re.findall(r"var\((--sm-[a-z-]+)", text))
    theme = (ROOT / "assets" / "theme.css").read_text(encoding="utf-8")
    defined = set(re.findall(r"(--sm-[a-z-]+):", theme))
    assert used <= defined


@pytest.mark.parametrize("pair", [("--sm-text", 4.5), ("--sm-muted", 4.5), ("--sm-accent", 4.5), ("--sm-ok", 4.5)])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_is_readable_on_every_surface(pair: tuple[str, float], theme: str) -> None:
    name, least = pair
    colours = _theme(theme)
    for ground in ("--sm-page", "--sm-surface", "--sm-sunken"):
        assert _contrast(colours[name], colours[ground]) >= least, (name, ground)


def test_what_is_wrong_or_done_is_readable_on_its_own_ground() -> None:
    for theme in ("light", "dark"):
        colours = _theme(theme)
        for name in ("ok", "warn", "stop"):
            assert _contrast(colours[f"--sm-{name}"], colours[f"--sm-{name}-soft"]) >= 4.5
        assert _contrast(colours["--sm-on-accent"], colours["--sm-accent"]) >= 4.5
        assert _contrast(colours["--sm-accent"], colours["--sm-accent-soft"]) >= 4.5


def _theme(name: str) -> dict[str, str]:
    text = (ROOT / "assets" / "theme.css").read_text(encoding="utf-8")
    block = re.search(rf'\[data-bs-theme="{name}"\] {{(.*?)}}', text, re.DOTALL).group(1)
    return dict(re.findall(r"(--sm-[a-z-]+): (#[0-9a-f]{6});", block))


def _contrast(a: str, b: str) -> float:
    """WCAG 2.1, relative luminance."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_the_runner_reads_the_same_settings(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, port=8123, demo=False, import_roots="/a:/b", jobs_per_user=5)
    given = environment(settings)
    assert Settings.from_env(given) == settings
    assert {PREFIX + f.name.upper() for f in dataclasses.fields(Settings)} <= set(given)
