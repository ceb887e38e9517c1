"""Maps of one field side by side: any methods, maps of other tools and a truth, in a figure, a table and a page."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from IR2QSMLib.core.errors import Cancelled, IR2QSMError, OutputUnwritable, ParameterInvalid
from IR2QSMLib.core.progress import Progress, part_of, silent
from IR2QSMLib.evaluation.comparison_setup import ComparedMap, ComparisonSetup
from IR2QSMLib.evaluation.regional_metrics import Region
from IR2QSMLib.inversion.registry import METHODS, Method, describe, method, offered
from IR2QSMLib.io.outputs import Outputs, check_writable
from IR2QSMLib.pipeline.inputs import REFERENCES, LoadedField, load_inputs
from IR2QSMLib.pipeline.metadata import FieldMetadata
from IR2QSMLib.pipeline.reconstruct import reconstruct
from IR2QSMLib.pipeline.result import Result, refuse_overwriting, sidecar_path
from IR2QSMLib.report.figure import WINDOW, Panel, figure, require_matplotlib
from IR2QSMLib.report.page import page

DIGITS = {"seconds": 1, "xsim": 3, "correlation": 3, "ssim": 3}
"""Digits on the page; the table has all, and others have one."""
TRUTH = "truth"


def chosen_methods(texts: Sequence[str]) -> dict[str, Method]:
    """Methods from what was typed, each a name or a name and its parameters: `tv,regularisation=auto`; by that text.

    Raises ParameterInvalid for a name, parameter or value that there is not, or one text twice.
    """
    found: dict[str, Method] = {}
    for text in texts:
        name, *given = text.split(",")
        parameters = {}
        for item in given:
            key, separator, value = item.partition("=")
            if not separator:
                raise ParameterInvalid(f"'{text}' has '{item}' after a comma; expected parameter=value.")
            if key in parameters:
                raise ParameterInvalid(f"'{text}' gives {key} twice; give each parameter once.")
            parameters[key] = Path(value) if key == "weights" else _parsed(value)
        if text in found:
            raise ParameterInvalid(f"The method '{text}' was named twice; name each once.")
        found[text] = method(name, **parameters)
    return found


def _parsed(value: str) -> float | int | bool | str:
    if value in ("true", "false"):
        return value == "true"
    try:
        return int(value) if re.fullmatch(r"[+-]?\d+", value) else float(value)
    except ValueError:
        return value


@dataclass(frozen=True)
class ComparisonOptions:
    """What is compared, and against what; raises ParameterInvalid."""

    methods: Sequence[str] | None = None
    """Each as `chosen_methods` reads it; None is all that can run."""
    maps: Mapping[str, Path] = field(default_factory=dict)
    """Maps of other tools [ppm] on the field's grid, by name."""
    truth: Path | None = None
    """The true χ [ppm], to score every map against."""
    labels: Path | None = None
    """Label map whose regions are listed."""
    white_matter: Sequence[int] = ()
    """Labels in which noise is taken; none is the whole mask."""
    reference: str = "mean"
    """Region whose mean χ is zero: "mean", "none", or a label map's path."""
    window: tuple[float, float] = WINDOW
    """Of the figure [ppm]."""
    device: str = "auto"

    def __post_init__(self) -> None:
        low, high = self.window
        if not low < high:
            raise ParameterInvalid(
                f"The window is {low:g} to {high:g} ppm; expected a lower and a higher end.", option="window"
            )

    def files(self) -> list[Path]:
        """Every file that is named."""
        region = None if self.reference in REFERENCES else Path(self.reference)
        return [*self.maps.values(), *(p for p in (self.truth, self.labels, region) if p is not None)]


def compare(
    outputs: Outputs,
    folder: Path,
    field: Path,
    mask: Path,
    metadata: FieldMetadata,
    options: ComparisonOptions,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Invert one field by several methods and lay the maps out side by side, with maps of other tools.

    All maps are compared in the voxels that all of them cover, and against the same reference. A method that cannot be
    run is named, and the others are run.

    Parameters
    ----------
    outputs
        Gets, in `folder`: chi_NAME.nii.gz and its sidecar for each method, comparison.png, comparison.tsv and
        comparison.html.
    folder
        Where the files go.
    field, mask, metadata
        The local field, as `load_inputs` reads it.
    options
        Methods, other maps, truth, regions, reference, window and device.
    progress
        Called with the fraction done and the stage.

    Returns
    -------
    dict
        The files, and what failed.

    Raises
    ------
    GridMismatch
        For an image on another grid than the field's.
    IR2QSMError
        What `reconstruct` raises, when no map is left.
    """
    progress(0.0, "reading")
    require_matplotlib()
    chosen = chosen_methods(offered() if options.methods is None else options.methods)
    others, truth, window = dict(options.maps), options.truth, options.window
    if not chosen and not others:
        raise ParameterInvalid("There is nothing to compare; name a method or give a map.")
    paths = {name: folder / f"chi_{_slug(name)}.nii.gz" for name in chosen}
    shown = {kind: folder / f"comparison.{kind}" for kind in ("png", "tsv", "html")}
    _require_names([*chosen, *others], list(paths.values()))
    written = [*paths.values(), *map(sidecar_path, paths.values()), *shown.values()]
    for path in written:
        check_writable(path, ())
    beside = [Path(v) for v in metadata.optional_volumes.values() if isinstance(v, Path | str)]
    refuse_overwriting([field, mask, *beside, *options.files()], written)
    loaded = load_inputs(field, mask, metadata=metadata)
    setup = ComparisonSetup.of(loaded, options.reference, options.labels, options.white_matter)
    given = {name: setup.map_of(path) for name, path in {**({TRUTH: truth} if truth else {}), **others}.items()}
    results, failed, warnings = _run(outputs, loaded, options, chosen, paths, part_of(progress, 0.02, 0.85))
    if not results and not others:
        reasons = list(failed.values())
        if len({str(reason) for reason in reasons}) == 1:
            raise reasons[0]
        raise ParameterInvalid("No method could be run. " + " ".join(f"{k}: {v}" for k, v in failed.items()))
    progress(0.86, "measuring")
    common = setup.mask
    for result in results.values():
        common = common & result.mask
    setup = replace(setup, mask=common)
    true = setup.settled(given.pop(TRUTH)) if truth else None
    items = [
        ComparedMap(name, setup.settled(result.chi), _about(chosen[name]), {"seconds": _seconds(result)})
        for name, result in results.items()
    ] + [ComparedMap(name, setup.settled(chi), others[name].name) for name, chi in given.items()]
    own_field = setup.own_field()
    done = []
    for i, item in enumerate(items):
        progress(0.87 + 0.08 * i / len(items), f"measuring {item.name}")
        done.append(setup.measured(item, true, own_field))
    progress(0.95, "drawing")
    notes = [
        f"Field {field.name}, mask {mask.name}: {int(common.sum())} voxels that all maps cover.",
        f"χ in ppm against {_reference(options.reference)}.",
        *(f"{name} was not run: {error}" for name, error in failed.items()),
        *warnings,
    ]
    _draw(outputs, shown, done, true, setup, window, notes, failed)
    progress(0.99, "writing")
    return {
        "folder": str(folder),
        "maps": {name: str(paths[name]) for name in results},
        "figure": str(shown["png"]),
        "table": str(shown["tsv"]),
        "page": str(shown["html"]),
        "failed": {name: str(error) for name, error in failed.items()},
        "warnings": notes[2:],
    }


def _run(
    outputs: Outputs,
    loaded: LoadedField,
    options: ComparisonOptions,
    chosen: Mapping[str, Method],
    paths: Mapping[str, Path],
    progress: Progress,
) -> tuple[dict[str, Result], dict[str, IR2QSMError], list[str]]:
    results, failed, warnings = {}, {}, []
    for i, (name, one) in enumerate(chosen.items()):
        part = part_of(progress, i / len(chosen), (i + 1) / len(chosen))

        def report(fraction: float, stage: str, name: str = name, part: Progress = part) -> None:
            part(fraction, f"{name}: {stage}")

        try:
            results[name] = reconstruct(
                loaded, method=one, reference=options.reference, device=options.device, progress=report
            )
        except (Cancelled, OutputUnwritable):
            raise
        except IR2QSMError as error:
            failed[name] = error
            continue
        results[name].add_to(outputs, paths[name])
        warnings += [f"{name}: {text}" for text in results[name].provenance["Warnings"]]
    return results, failed, warnings


def _draw(
    outputs: Outputs,
    paths: Mapping[str, Path],
    items: Sequence[ComparedMap],
    truth: Tensor | None,
    setup: ComparisonSetup,
    window: tuple[float, float],
    notes: Sequence[str],
    failed: Mapping[str, IR2QSMError],
) -> None:
    panels = [Panel(item.name, item.chi) for item in items]
    first = Panel(TRUTH, truth) if truth is not None else panels.pop(0)
    below = [None, *(Panel(f"{p.title} − {first.title}", p.values - first.values) for p in panels)]
    drawn = io.BytesIO()
    figure(
        drawn,
        [first, *panels],
        setup.mask,
        setup.grid,
        window=window,
        below=below,
        title="Susceptibility in ppm" + (f"; below, the difference to {first.title}" if panels else ""),
    )
    outputs.bytes(paths["png"], drawn.getvalue())
    measures = list(dict.fromkeys(key for item in items for key in item.measures))
    regions = list(dict.fromkeys(number for item in items for number in item.regions))
    fields = list(Region._fields)
    head = ["map", *measures, *(f"label_{n}_{f}" for n in regions for f in fields), "problem"]
    rows = [
        [
            item.name,
            *(_full(item.measures.get(key)) for key in measures),
            *(_full(getattr(item.regions[n], f)) for n in regions for f in fields),
            "",
        ]
        for item in items
    ] + [[name, *["n/a"] * (len(head) - 2), str(error)] for name, error in failed.items()]
    outputs.text(paths["tsv"], "".join("\t".join(" ".join(c.split()) for c in row) + "\n" for row in [head, *rows]))
    short = [[item.name, *(_short(item.measures.get(key), DIGITS.get(key, 1)) for key in measures)] for item in items]
    tables = [("Measures", ["map", *(key.replace("_", " ") for key in measures)], short)]
    if regions:
        of = [
            [item.name, *(f"{_short(item.regions[n].mean, 3)} ± {_short(item.regions[n].sd, 3)}" for n in regions)]
            for item in items
        ]
        tables.append(("Mean ± SD of each label [ppm]", ["map", *map(str, regions)], of))
    about = [(item.name, item.about) for item in items]
    outputs.text(paths["html"], page([first, *panels], setup.mask, setup.grid, window, tables, about, notes))


def _seconds(result: Result) -> float:
    return float(sum(result.provenance["Seconds"].values()))


def _about(chosen: Method) -> str:
    told = describe(chosen)
    entry = METHODS.get(told["name"])
    return told["name"] if entry is None else f"{entry.sentence} {entry.citation}."


def _require_names(names: Sequence[str], paths: Sequence[Path]) -> None:
    spare = [name for name in names if not name or name != " ".join(name.split())]
    taken = spare or [name for name in names if name == TRUTH or names.count(name) > 1]
    if taken:
        raise ParameterInvalid(
            f"A map is called '{taken[0]}'; expected a name of its own for each, without spare blanks, and not 'truth'."
        )
    if len(set(paths)) < len(paths):
        raise ParameterInvalid("Two methods would write the same file; they differ in signs that a file's name lacks.")


def _slug(name: str) -> str:
    return re.sub(r"[^\w.+-]+", "-", name)


def _reference(reference: str) -> str:
    texts = {"mean": "the mean of all voxels", "none": "each map's own zero"}
    return texts.get(reference, f"the mean of {Path(reference).name}")


def _full(value: float | None) -> str:
    return "n/a" if value is None or math.isnan(value) else f"{value:.6g}"


def _short(value: float | None, digits: int) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.{digits}f}"
