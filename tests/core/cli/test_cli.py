from __future__ import annotations

import gzip
import io as streams
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from anndata import read_h5ad

from core import io, keys
from core.analysis.clusters import ClusterConfig
from core.cli import command_line, main
from core.cli.parser import build_parser
from core.cli.terminal import TerminalContext
from core.options import options
from core.pipeline import STEPS, history
from core.reassignment import ReassignConfig
from tests.core.pairs import pair

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated pair that already lies in one frame, and the first steps on it."""
    folder = tmp_path_factory.mktemp("cli")
    st, sm = pair()
    io.write_h5ad(st, folder / "st.h5ad")
    io.write_h5ad(sm, folder / "sm.h5ad")
    assert (
        main(
            [
                "reassign",
                "--st",
                str(folder / "st.h5ad"),
                "--sm",
                str(folder / "sm.h5ad"),
                "--out",
                str(folder / "joint.h5ad"),
            ]
        )
        == 0
    )
    return folder


def test_help_shows_every_setting_with_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    for name, step in STEPS.items():
        assert main([name, "--help"]) == 0
        text = " ".join(capsys.readouterr().out.split())
        for option in options(step.Config):
            assert option.flag in text
            assert option.unit in text
        assert text.count("default") >= len(options(step.Config))


def test_run_takes_the_settings_of_every_step() -> None:
    given = build_parser().parse_args(
        ["run", "--st", "a", "--sm", "b", "--out", "c", "--seed", "7", "--k", "3", "--n-clusters", "4", "--epochs", "2"]
    )
    configs = {name: part.read(given) for name, part in given.settings.items()}
    assert configs["integrate"].seed == configs["cluster"].seed == 7
    assert configs["reassign"].k == 3
    assert configs["cluster"].n_clusters == 4
    assert configs["integrate"].epochs == 2


def test_a_turn_that_is_given_is_not_searched_for(tmp_path: Path, capsys) -> None:
    st, sm = tmp_path / "st.h5ad", tmp_path / "sm.h5ad"
    for adata, path in zip(pair(), (st, sm), strict=True):
        io.write_h5ad(adata, path)
    files = ["align", "--st", str(st), "--sm", str(sm), "--out", str(tmp_path / "o.h5ad"), "--max-steps", "20"]
    turns = {"given": ["--rotation-deg", "5"], "search": ["--flip", "--orientation", "search"]}
    for expected, more in turns.items():
        assert main([*files, *more, "--json"]) == 0
        answer = json.loads(capsys.readouterr().out)
        assert answer["history"][0]["config"]["orientation"] == expected
    assert json.loads(Path(answer["transform"]).read_text())


@pytest.mark.parametrize("name", STEPS)
def test_every_step_takes_a_seed(name: str) -> None:
    files = ["--st", "a", "--sm", "b"] if "sm" in STEPS[name].inputs else ["a"]
    given = build_parser().parse_args([name, *files, "--out", "c", "--seed", "7"])
    assert getattr(given.settings.read(given), "seed", 7) == 7


def test_simulate_inspect_and_the_chain_of_steps(tmp_path: Path, folder: Path, capsys) -> None:
    out = tmp_path / "demo"
    assert (
        main(["simulate", "--out", str(out), "--spots", "120", "--genes", "20", "--metabolites", "10", "--json"]) == 0
    )
    assert sorted(Path(f).name for f in json.loads(capsys.readouterr().out)["files"]) == [
        "sm.h5ad",
        "st.h5ad",
        "truth.json",
    ]
    assert json.loads((out / "truth.json").read_text())["rotation_deg"] == 20.0
    assert main(["inspect", str(out / "sm.h5ad"), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["kind"], facts["n_vars"]) == ("sm", 10)
    assert {check["level"] for check in facts["checks"]} <= {"ok", "warning"}
    joint, features = str(folder / "joint.h5ad"), str(tmp_path / "features.h5ad")
    assert main(["features", joint, "--out", features, "--n-genes", "5"]) == 0
    assert "wrote" in capsys.readouterr().out
    assert read_h5ad(features).var[keys.SELECTED].sum() == 17
    assert main(["inspect", features]) == 0
    assert "JOINT" in (text := capsys.readouterr().out)
    assert "reassign" in text
    packed = Path(f"{features}.gz")
    packed.write_bytes(gzip.compress(Path(features).read_bytes(), 1))
    assert main(["inspect", str(packed)]) == 0
    assert capsys.readouterr().out == text.replace(features, str(packed))


def test_simulating_several_samples(tmp_path: Path, capsys) -> None:
    arguments = ["--spots", "60", "--genes", "5", "--metabolites", "4", "--samples", "2", "--seed", "3"]
    assert main(["simulate", "--out", str(tmp_path / "many"), *arguments]) == 0
    assert len(list((tmp_path / "many").glob("*/st.h5ad"))) == 2
    assert [p.name for p in tmp_path.iterdir()] == ["many"]


def test_integrate_selects_features_first_and_markers_follow(tmp_path: Path, folder: Path, capsys) -> None:
    result, table = tmp_path / "result.h5ad", tmp_path / "markers.csv"
    assert main(["integrate", str(folder / "joint.h5ad"), "--out", str(result), "--epochs", "2", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert [record["name"] for record in facts["history"]] == ["reassign", "features", "integrate"]
    assert main(["markers", str(result), "--groupby", "quality", "--out", str(table)]) == 0
    assert set(pd.read_csv(table)["group"]) == {"good", "poor"}


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["reassign", "--st", "{}/st.h5ad", "--sm", "{}/no.h5ad", "--out", "{}/o.h5ad"], "no such file"),
        (["reassign", "--st", "{}/st.h5ad", "--sm", "{}/sm.h5ad", "--out", "{}/o.h5ad", "--k", "many"], "k to be"),
        (["reassign", "--st", "{}/st.h5ad", "--sm", "{}/sm.h5ad", "--out", "{}/no/o.h5ad"], "folder"),
        (["reassign", "--st", "{}/st.h5ad", "--sm", "{}/sm.h5ad", "--out", "{}"], "a file to write"),
        (["reassign", "--st", "{}/st.h5ad", "--out", "{}/o.h5ad"], "--sm"),
        (["cluster", "{}/joint.h5ad", "--out", "{}/o.h5ad"], "Integrate first"),
        (["features", "{}/st.h5ad", "--out", "{}/o.h5ad"], "Reassign"),
        (["markers", "{}/joint.h5ad", "--groupby", "nothing", "--out", "{}/o.csv"], "nothing"),
        (["merge"], "invalid choice"),
        ([], "required"),
    ],
)
def test_mistakes_are_one_line_and_status_2(arguments: list[str], word: str, folder: Path, capsys) -> None:
    before = sorted(folder.iterdir())
    assert main([part.format(folder) for part in arguments]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith("error: ")
    assert word in lines[-1]
    assert [line for line in lines if not line.startswith("warning: ")] == lines[-1:]
    assert sorted(folder.iterdir()) == before


def test_blocking_checks_stop_the_work(tmp_path: Path, folder: Path, capsys) -> None:
    st, _ = pair()
    st.X.data[0] = np.nan
    st.write_h5ad(tmp_path / "st.h5ad")
    assert main(["inspect", str(tmp_path / "st.h5ad"), "--kind", "st"]) == 1
    assert "blocking" in capsys.readouterr().out
    arguments = ["reassign", "--st", str(tmp_path / "st.h5ad"), "--sm", str(folder / "sm.h5ad")]
    assert main([*arguments, "--out", str(tmp_path / "o.h5ad")]) == 2
    assert not (tmp_path / "o.h5ad").exists()


def test_command_line_repeats_a_step() -> None:
    text = command_line("reassign", ReassignConfig(k=9, missing="keep"))
    assert text == "python -m core reassign --st ST --sm SM --out OUT.h5ad --k=9 --missing=keep"
    config = ClusterConfig(n_clusters=3, seed=5)
    given = build_parser().parse_args(command_line("cluster", config).split()[3:])
    assert given.settings.read(given) == config


def test_progress_is_drawn_on_terminals_only() -> None:
    class Terminal(streams.StringIO):
        def isatty(self) -> bool:
            return True

    terminal, file = Terminal(), streams.StringIO()
    for stream in (terminal, file):
        context = TerminalContext("reassign", stream=stream)
        context.progress(0.5, "half way", loss=1.25)
        context.close()
    assert " 50%" in terminal.getvalue()
    assert "loss 1.25" in terminal.getvalue()
    assert terminal.getvalue().endswith("\n")
    assert file.getvalue() == ""


def test_interrupting_leaves_nothing_half_written(tmp_path: Path, folder: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    command = [sys.executable, "-m", "core", "integrate", str(folder / "joint.h5ad"), "--out", str(work / "o.h5ad")]
    # a shell may start us with the signal ignored, which children inherit; a handler is not inherited
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    child = subprocess.Popen(
        [*command, "--epochs", "10000", "--patience", "10000"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )
    signal.signal(signal.SIGINT, handler)
    while child.poll() is None and "libtorch" not in Path(f"/proc/{child.pid}/maps").read_text():
        time.sleep(0.1)
    time.sleep(3)
    child.send_signal(signal.SIGINT)
    _, error = child.communicate(timeout=60)
    assert child.returncode == 130, error
    assert "interrupted" in error
    assert list(work.iterdir()) == []


@pytest.mark.slow
def test_vicari_from_raw_files_to_clusters(data_dir: Path, tmp_path: Path) -> None:
    """The whole work as a person starts it: the MSI grid is turned by a quarter against Visium."""
    pair_of = data_dir / "vicari_B1"
    command = [sys.executable, "-m", "core", "run", "--st", str(pair_of / "st.h5ad"), "--sm", str(pair_of / "sm.h5ad")]
    command += ["--sm-spatial-key", "spatial_grid", "--no-flip", "--rotation-deg", "90", "--epochs", "5", "--json"]
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "o.h5ad")],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["o.h5ad", "o.transform.json", "o.transform.npz"]
    json.loads((tmp_path / "o.transform.json").read_text())
    assert [record["name"] for record in facts["history"]] == list(STEPS)
    result, st = read_h5ad(tmp_path / "o.h5ad"), read_h5ad(pair_of / "st.h5ad")
    assert history(result) == facts["history"]
    assert 0.8 * st.n_obs < result.n_obs <= st.n_obs
    genes = result.var[keys.TYPE] == keys.ST
    assert (result[:, genes].X != st[result.obs_names].X).nnz == 0
    dopamine = result[:, "Dopamine"].X.toarray().ravel()
    striatum = result.obs["RegionLoupe"].isin(["CP", "ACB"]) & (result.obs["lesion"] == "intact")
    assert dopamine[striatum].mean() > 3 * dopamine[~striatum].mean()
    assert result.obs[keys.LEIDEN].nunique() > 2


def test_align_by_a_landmark_file(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The pairs are kept in the record of the step, not the name of the file."""
    rows = [[1100.0, 1100.0], [3000.0, 1200.0], [1500.0, 2600.0], [2800.0, 2500.0]]
    lines = [f"{x},{y},{x + 50},{y - 20}" for x, y in rows]
    (tmp_path / "marks.csv").write_text("\n".join(["sm_x,sm_y,st_x,st_y", *lines]))
    files = ["align", "--st", str(folder / "st.h5ad"), "--sm", str(folder / "sm.h5ad"), "--mode", "landmarks"]
    out = tmp_path / "o.h5ad"
    assert main([*files, "--out", str(out), "--landmarks", str(tmp_path / "marks.csv")]) == 0
    found = read_h5ad(out)
    np.testing.assert_allclose(found.obsm["spatial"], found.obsm["spatial_raw"] + [50, -20], atol=1e-6)
    kept = history(found)[-1]["config"]["landmarks"]
    assert json.loads(kept) == [[x, y, x + 50, y - 20] for x, y in rows]
    capsys.readouterr()
    assert main([*files, "--out", str(out), "--landmarks", str(tmp_path / "none.csv")]) != 0
    assert capsys.readouterr().err.count("\n") <= 2
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    assert main([*files, "--out", str(out), "--landmarks", str(tmp_path / "bad.csv")]) != 0
    assert "sm_x, sm_y, st_x, st_y" in capsys.readouterr().err


def test_encode_places_the_spots_of_the_training_where_it_put_them(tmp_path: Path, folder: Path, capsys) -> None:
    """The object of reassign, not normalised, goes in."""
    joint, kept = folder / "joint.h5ad", tmp_path / "kept"
    settings = ["--epochs", "2", "--checkpoints", str(kept)]
    assert main(["integrate", str(joint), "--out", str(tmp_path / "i.h5ad"), *settings]) == 0
    assert main(["encode", str(kept / "model.pt"), str(joint), "--out", str(tmp_path / "e.h5ad")]) == 0
    trained, placed = read_h5ad(tmp_path / "i.h5ad"), read_h5ad(tmp_path / "e.h5ad")
    for slot in (keys.X_EMB, *keys.X_EMB_MODALITY.values()):
        np.testing.assert_allclose(placed.obsm[slot], trained.obsm[slot], atol=1e-5)
    np.testing.assert_allclose(
        placed.obs[keys.CONTRIBUTION[keys.ST]], trained.obs[keys.CONTRIBUTION[keys.ST]], atol=1e-5
    )
    assert main(["encode", str(tmp_path / "none.pt"), str(joint), "--out", str(tmp_path / "n.h5ad")]) == 2
    assert "no file" in capsys.readouterr().err


def test_encode_says_which_samples_the_training_did_not_have(tmp_path: Path, folder: Path, capsys) -> None:
    joint, kept = str(folder / "joint.h5ad"), tmp_path / "kept"
    both, joined = str(tmp_path / "both.h5ad"), tmp_path / "joined.h5ad"
    assert main(["concat", joint, joint, "--names", "one,two", "--out", both]) == 0
    settings = ["--epochs", "1", "--checkpoints", str(kept), "--out", str(joined)]
    assert main(["integrate", both, *settings]) == 0
    capsys.readouterr()
    model, out = str(kept / "model.pt"), tmp_path / "e.h5ad"
    assert main(["encode", model, both, "--out", str(out)]) == 0
    assert "warning" not in capsys.readouterr().err
    assert list(read_h5ad(out).uns[keys.UNS][keys.ENCODED]["not_shifted"]) == []
    new = read_h5ad(both)
    new.obs[keys.SAMPLE] = new.obs[keys.SAMPLE].astype(str).replace("two", "three")
    io.write_h5ad(new, tmp_path / "new.h5ad")
    assert main(["encode", model, str(tmp_path / "new.h5ad"), "--out", str(out)]) == 0
    (warning,) = capsys.readouterr().err.strip().splitlines()
    assert "did not have sample three (it had one, two): it is not shifted" in warning
    placed = read_h5ad(out)
    assert list(placed.uns[keys.UNS][keys.ENCODED]["not_shifted"]) == ["three"]
    record = history(placed)[-1]
    assert (record["name"], record["config"]["neighbours_across"]) == ("encode", 18)
    del new.obs[keys.SAMPLE]
    io.write_h5ad(new, tmp_path / "nameless.h5ad")
    assert main(["encode", model, str(tmp_path / "nameless.h5ad"), "--out", str(out)]) == 0
    assert "did not have a sample without a name" in capsys.readouterr().err


def test_several_samples_are_joined(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    joint = str(folder / "joint.h5ad")
    out = tmp_path / "joined.h5ad"
    assert main(["concat", joint, joint, "--names", "one,two", "--out", str(out), "--json"]) == 0
    joined = read_h5ad(out)
    single = read_h5ad(joint)
    assert joined.obs[keys.SAMPLE].value_counts().to_dict() == {"one": single.n_obs, "two": single.n_obs}
    capsys.readouterr()
    assert main(["concat", joint, joint, "--names", "one,one", "--out", str(out)]) == 2
    assert "--names" in capsys.readouterr().err
    files = [joint, joint, "--names", "one,two", "--epochs", "2", "--out", str(tmp_path / "i.h5ad"), "--json"]
    assert main(["integrate", *files]) == 0
    integrated = read_h5ad(tmp_path / "i.h5ad")
    assert [record["name"] for record in history(integrated)][-3:] == ["concat", "features", "integrate"]
    assert integrated.obsm[keys.X_EMB].shape[0] == 2 * single.n_obs


def test_run_takes_several_pairs(folder: Path, tmp_path: Path) -> None:
    sections = {part: [str(folder / f"{part}.h5ad")] * 2 for part in ("st", "sm")}
    out = tmp_path / "result.h5ad"
    settings = ["--max-steps", "2", "--orientation", "given", "--epochs", "1", "--n-clusters", "3", "--json"]
    assert main(["run", "--st", *sections["st"], "--sm", *sections["sm"], "--out", str(out), *settings]) == 0
    result = read_h5ad(out)
    assert result.obs[keys.SAMPLE].nunique() == 2
    assert keys.LEIDEN in result.obs
    names = [record["name"] for record in history(result)]
    assert sorted(names) == sorted(["align", "reassign"] * 2 + ["concat", "features", "integrate", "cluster"])
    assert main(["run", "--st", *sections["st"], "--sm", sections["sm"][0], "--out", str(out)]) == 2


def test_both_ion_modes_become_one_section(folder: Path, tmp_path: Path) -> None:
    sm, out = str(folder / "sm.h5ad"), tmp_path / "both.h5ad"
    assert main(["polarity", "--sm", sm, "--sm-negative", sm, "--out", str(out), "--json"]) == 0
    both = io.read_sm(out)
    assert both.n_vars == 2 * read_h5ad(sm).n_vars
    assert set(both.var[keys.POLARITY]) == {"positive", "negative"}
    joint = tmp_path / "joint.h5ad"
    pair_ = ["--st", str(folder / "st.h5ad"), "--sm", sm, "--sm-negative", sm]
    assert main(["reassign", *pair_, "--out", str(joint), "--json"]) == 0
    assert (read_h5ad(joint).var[keys.POLARITY].astype(str) == "negative").sum() == read_h5ad(sm).n_vars
