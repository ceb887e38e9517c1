"""Maps of one field side by side: any methods, maps of other tools and a truth, in a figure, a table and a page."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from IR2QSMLib.core.errors import Cancelled, IR2QSMError, OutputUnwritable, ParameterInvalid
from IR2QSMLib.core.progress import Progress, part_of, silent
from IR2QSMLib.evaluation.comparison_options import ComparisonOptions, parse_methods
from IR2QSMLib.evaluation.comparison_report import TRUTH, ReportFiles, write_report
from IR2QSMLib.evaluation.comparison_setup import ComparedMap, ComparisonSetup
from IR2QSMLib.inversion.registry import METHODS, Method, available_methods, method_provenance
from IR2QSMLib.io.outputs import Outputs, check_writable
from IR2QSMLib.pipeline.inputs import LoadedField, load_inputs
from IR2QSMLib.pipeline.metadata import FieldMetadata
from IR2QSMLib.pipeline.reconstruct import reconstruct
from IR2QSMLib.pipeline.result import Result, refuse_overwriting, sidecar_path
from IR2QSMLib.report.figure import require_matplotlib


def compare(
    outputs: Outputs,
    folder: Path,
    field: Path,
    mask: Path,
    metadata: FieldMetadata,
    options: ComparisonOptions,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Invert one field by several methods and show the maps side by side, with maps of other tools.

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
    methods = parse_methods(available_methods() if options.methods is None else options.methods)
    map_files, report_files = _output_files(folder, methods, options)
    _require_writable(map_files, report_files, [field, mask, *_volume_files(metadata), *options.files()])

    loaded = load_inputs(field, mask, metadata=metadata)
    setup = ComparisonSetup.of(loaded, options.reference, options.labels, options.white_matter)
    truth = None if options.truth is None else setup.read_map(options.truth)
    other_maps = {name: setup.read_map(path) for name, path in options.maps.items()}

    results, failures = _run_methods(outputs, map_files, loaded, options, methods, part_of(progress, 0.02, 0.85))
    if not results and not other_maps:
        raise _no_map_error(failures)

    progress(0.86, "measuring")
    for result in results.values():
        setup = setup.with_mask(setup.local.mask & result.mask)
    if truth is not None:
        truth = setup.relative_to_reference(truth)
    maps = _compared_maps(setup, methods, results, options.maps, other_maps)
    maps = setup.measure(maps, truth, part_of(progress, 0.87, 0.95))

    progress(0.95, "drawing")
    warnings = [f"{name} was not run: {error}" for name, error in failures.items()]
    warnings += [f"{name}: {text}" for name, result in results.items() for text in result.provenance["Warnings"]]
    notes = [
        f"Field {field.name}, mask {mask.name}: {int(setup.local.mask.sum())} voxels that all maps cover.",
        f"χ in ppm against {_reference_text(options.reference)}.",
        *warnings,
    ]
    write_report(outputs, report_files, maps, truth, setup, options.window, notes, failures)
    progress(0.99, "writing")
    return {
        "folder": str(folder),
        "maps": {name: str(map_files[name]) for name in results},
        **{name: str(path) for name, path in report_files._asdict().items()},
        "failed": {name: str(error) for name, error in failures.items()},
        "warnings": warnings,
    }


def _output_files(
    folder: Path, methods: Mapping[str, Method], options: ComparisonOptions
) -> tuple[dict[str, Path], ReportFiles]:
    """Files of the methods' maps, by name, and of the report; raises ParameterInvalid for names that do not fit."""
    names = [*methods, *options.maps]
    if not names:
        raise ParameterInvalid("There is nothing to compare; name a method or give a map.")
    spaced = [name for name in names if not name or name != " ".join(name.split())]
    if invalid := spaced or [name for name in names if name == TRUTH or names.count(name) > 1]:
        raise ParameterInvalid(
            f"A map is called '{invalid[0]}'; expected a name of its own for each, without spare blanks, and not "
            "'truth'."
        )
    safe_names = {name: re.sub(r"[^\w.+-]+", "-", name) for name in methods}
    map_files = {name: folder / f"chi_{safe_name}.nii.gz" for name, safe_name in safe_names.items()}
    by_file: dict[Path, str] = {}
    for name, path in map_files.items():
        if path in by_file:
            raise ParameterInvalid(
                f"The maps of '{by_file[path]}' and '{name}' would have one file name, {path.name}; compare these two "
                "methods in two runs, each with an output folder of its own.",
                option="methods",
            )
        by_file[path] = name
    return map_files, ReportFiles(*(folder / f"comparison.{kind}" for kind in ("png", "tsv", "html")))


def _require_writable(map_files: Mapping[str, Path], report_files: ReportFiles, inputs: Sequence[Path]) -> None:
    """Raise when an output cannot be written or would replace an input."""
    paths = [*map_files.values(), *map(sidecar_path, map_files.values()), *report_files]
    for path in paths:
        check_writable(path, ())
    refuse_overwriting(inputs, paths)


def _volume_files(metadata: FieldMetadata) -> list[Path]:
    return [Path(v) for v in metadata.optional_volumes.values() if isinstance(v, Path | str)]


def _run_methods(
    outputs: Outputs,
    map_files: Mapping[str, Path],
    loaded: LoadedField,
    options: ComparisonOptions,
    methods: Mapping[str, Method],
    progress: Progress,
) -> tuple[dict[str, Result], dict[str, IR2QSMError]]:
    """Results by name, whose maps are added to the outputs, and the errors of methods that cannot run."""
    results: dict[str, Result] = {}
    failures: dict[str, IR2QSMError] = {}
    for i, (name, method) in enumerate(methods.items()):
        part = part_of(progress, i / len(methods), (i + 1) / len(methods))

        def report(fraction: float, stage: str, name: str = name, part: Progress = part) -> None:
            part(fraction, f"{name}: {stage}")

        try:
            results[name] = reconstruct(
                loaded, method=method, reference=options.reference, device=options.device, progress=report
            )
        except (Cancelled, OutputUnwritable):
            raise
        except IR2QSMError as error:
            failures[name] = error
            continue
        results[name].add_to(outputs, map_files[name])
    return results, failures


def _no_map_error(failures: Mapping[str, IR2QSMError]) -> IR2QSMError:
    """The one reason why all methods failed, or an error that lists all reasons."""
    reasons = list(failures.values())
    if len({str(reason) for reason in reasons}) == 1:
        return reasons[0]
    listed = " ".join(f"{name}: {error}" for name, error in failures.items())
    return ParameterInvalid(f"No method could be run. {listed}")


def _compared_maps(
    setup: ComparisonSetup,
    methods: Mapping[str, Method],
    results: Mapping[str, Result],
    other_files: Mapping[str, Path],
    other_maps: Mapping[str, Tensor],
) -> list[ComparedMap]:
    """The methods' maps and the other ones against the common reference."""
    maps = []
    for name, result in results.items():
        seconds = float(sum(result.provenance["Seconds"].values()))
        chi = setup.relative_to_reference(result.chi)
        maps.append(ComparedMap(name, chi, _description(methods[name]), {"seconds": seconds}))
    for name, chi in other_maps.items():
        maps.append(ComparedMap(name, setup.relative_to_reference(chi), other_files[name].name))
    return maps


def _description(method: Method) -> str:
    name = method_provenance(method)["name"]
    info = METHODS.get(name)
    return name if info is None else f"{info.description} {info.citation}."


def _reference_text(reference: str) -> str:
    texts = {"mean": "the mean of all voxels", "none": "each map's own zero"}
    return texts.get(reference, f"the mean of {Path(reference).name}")
