"""What the commands are called and take."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import NoReturn

from core.cli import commands
from core.cli.arguments import Settings, settings_of_all_steps
from core.options import options
from core.pipeline import STEPS

ABOUT = "Integrate spatial transcriptomics (ST) and spatial metabolomics (SM)."
STEP_HELP = {
    "align": "bring an SM section into the frame of its ST section",
    "reassign": "resample aligned SM pixels onto ST spots",
    "features": "select spatially variable genes and metabolites",
    "integrate": "joint embedding by the conditional VAE; selects features first where none are chosen",
    "cluster": "neighbours, Leiden clusters and UMAP of the embedding",
}


class Parser(argparse.ArgumentParser):
    """Refuses in one line, as all errors of the command line do."""

    def error(self, message: str) -> NoReturn:
        print(f"error: {message} (see {self.prog} --help)", file=sys.stderr)
        raise SystemExit(2)


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; the namespace's ``command`` is the function to call."""
    parser = Parser(prog="python -m core", description=ABOUT, allow_abbrev=False)
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
    _add_simulate(subparsers)
    _add_inspect(subparsers)
    for name in STEPS:
        _add_step(subparsers, name)
    _add_encode(subparsers)
    _add_concat(subparsers)
    _add_polarity(subparsers)
    _add_markers(subparsers)
    _add_run(subparsers)
    return parser


def _command(subparsers, name: str, about: str, function: Callable) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(name, help=about, description=about[0].upper() + about[1:] + ".", allow_abbrev=False)
    parser.add_argument("--json", action="store_true", help="answer in JSON on standard output, without progress")
    parser.set_defaults(command=function)
    return parser


def _add_simulate(subparsers) -> None:
    from core.datasets import SimulateConfig

    about = "write a simulated pair with known truth: st.h5ad, sm.h5ad and truth.json"
    parser = _command(subparsers, "simulate", about, commands.simulate)
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write into; made where it is missing")
    settings = Settings(SimulateConfig)
    settings.add_to(parser, "settings")
    parser.set_defaults(settings=settings)


def _add_inspect(subparsers) -> None:
    about = "read a section or a joint object and say what is in it and whether it can be used"
    parser = _command(subparsers, "inspect", about, commands.inspect)
    parser.add_argument("file", metavar="FILE", help="any format that can be read")
    parser.add_argument(
        "--kind",
        choices=("auto", "st", "sm", "joint"),
        default="auto",
        help="what the file is (default auto: by its format and content)",
    )
    _add_reading(parser)


def _add_reading(parser: argparse.ArgumentParser, *, several: bool = False) -> None:
    group = parser.add_argument_group("reading")
    many = {"nargs": "+"} if several else {}
    group.add_argument("--sm-spatial-key", metavar="KEY", help="obsm entry of an SM h5ad that holds its coordinates")
    group.add_argument("--ibd", metavar="FILE", help="binary part of an imzML (default: the one beside it)", **many)
    group.add_argument("--image", metavar="FILE", help="histology of the ST section", **many)
    group.add_argument("--image-scale", type=float, metavar="X", help="pixels of the image per full-resolution pixel")


def _add_pair(parser: argparse.ArgumentParser, out: str, *, several: bool = False) -> None:
    many = {"nargs": "+"} if several else {}
    more = "; several samples: one after the other, as for --sm" if several else ""
    parser.add_argument(
        "--st", required=True, metavar="ST", help=f"ST section: h5ad, Space Ranger folder or archive, .h5{more}", **many
    )
    parser.add_argument(
        "--sm", required=True, metavar="SM", help="SM section: h5ad, imzML, CSV or TSV peak table", **many
    )
    parser.add_argument(
        "--sm-negative",
        metavar="SM",
        help="negative ion mode of the same section; --sm is the positive",
        **many,
    )
    parser.add_argument("--out", required=True, metavar=out, help="h5ad to write")
    _add_reading(parser, several=several)


def _add_step(subparsers, name: str) -> None:
    step = STEPS[name]
    settings = Settings(step.Config)
    pair = "sm" in step.inputs
    parser = _command(subparsers, name, STEP_HELP[name], commands.pair_step if pair else commands.joint_step)
    if pair:
        _add_pair(parser, "SM_ALIGNED" if step.output == "sm" else "JOINT")
    else:
        many = {"nargs": "+"} if name == "integrate" else {}
        more = "; several are joined first" if many else ""
        parser.add_argument("joint", metavar="JOINT", help=f"h5ad of the step before{more}", **many)
        if name in ("features", "integrate"):
            _add_section(parser)
        if many:
            _add_names(parser)
            about = (
                "keep the trained model (model.pt) and checkpoints here; a run of the same settings goes on from them"
            )
            parser.add_argument("--checkpoints", metavar="FOLDER", help=about)
        parser.add_argument("--out", required=True, metavar="RESULT", help="h5ad to write")
    settings.add_to(parser, "settings")
    parser.set_defaults(step=name, settings=settings)


def _add_section(parser: argparse.ArgumentParser) -> None:
    """A section without its partner: what is read is what is measured, so there is nothing to align or reassign."""
    about = "the file is one section, ST or SM alone, in any format that can be read; the work begins here"
    parser.add_argument("--section", choices=("st", "sm"), help=about)
    _add_reading(parser)


def _add_names(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--names",
        metavar="TEXT",
        help="names of the samples, with commas (default: their own, else the files')",
    )
    _add_tolerance(parser)


def _add_tolerance(parser: argparse.ArgumentParser) -> None:
    """How the metabolites of samples that are joined are matched."""
    from core.joining import ConcatConfig

    option = options(ConcatConfig)[0]
    parser.add_argument(option.flag, type=float, metavar="PPM", help=f"{option.help} (default {option.default:g})")


def _add_encode(subparsers) -> None:
    about = "place spots, which may be new, in the embedding of a trained model"
    parser = _command(subparsers, "encode", about, commands.encode)
    parser.add_argument("model", metavar="MODEL", help="model.pt of integrate")
    parser.add_argument("joint", metavar="JOINT", help="h5ad with the features of the model, of reassign or later")
    parser.add_argument("--out", required=True, metavar="RESULT", help="h5ad to write")


def _add_concat(subparsers) -> None:
    about = "join the joint objects of several samples, with the features that all of them have"
    parser = _command(subparsers, "concat", about, commands.concat)
    parser.add_argument("joint", metavar="JOINT", nargs="+", help="h5ad of reassign, one for each sample")
    parser.add_argument("--out", required=True, metavar="RESULT", help="h5ad to write")
    _add_names(parser)


def _add_polarity(subparsers) -> None:
    about = "merge the positive and the negative ion mode of one section, pixels matched by coordinate"
    parser = _command(subparsers, "polarity", about, commands.polarity)
    parser.add_argument("--sm", required=True, metavar="SM", help="positive ion mode: h5ad, imzML, CSV or TSV")
    parser.add_argument("--sm-negative", required=True, metavar="SM", help="negative ion mode")
    parser.add_argument("--sm-spatial-key", metavar="KEY", help="obsm entry of an SM h5ad that holds its coordinates")
    parser.add_argument("--ibd", metavar="FILE", help="binary part of an imzML (default: the one beside it)")
    parser.add_argument("--out", required=True, metavar="SM", help="h5ad to write")


def _add_markers(subparsers) -> None:
    about = "test every feature in each group of spots against the rest, as CSV"
    parser = _command(subparsers, "markers", about, commands.markers)
    parser.add_argument("joint", metavar="RESULT", help="h5ad with normalised values")
    parser.add_argument("--groupby", required=True, metavar="COLUMN", help="obs column with the groups, e.g. leiden")
    parser.add_argument("--out", required=True, metavar="CSV", help="table to write")
    parser.add_argument("--layer", default="normalized", metavar="NAME", help="values to test (default normalized)")


def _add_run(subparsers) -> None:
    about = "do the whole work: align, reassign, features, integrate, cluster; several pairs are joined"
    parser = _command(subparsers, "run", about, commands.run)
    _add_pair(parser, "RESULT", several=True)
    _add_tolerance(parser)
    settings = settings_of_all_steps()
    seen: set[str] = set()
    for name, part in settings.items():
        part.add_to(parser, f"settings of {name}", seen)
    parser.set_defaults(settings=settings)
