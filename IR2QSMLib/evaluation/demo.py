"""A first run: a simulated brain, its maps by two methods, a picture and a table."""

from __future__ import annotations

import time
from pathlib import Path

from IR2QSMLib.core.progress import Progress, part_of, silent
from IR2QSMLib.evaluation.metrics import score
from IR2QSMLib.inversion.direct import TruncatedDivision
from IR2QSMLib.inversion.registry import Method
from IR2QSMLib.io.outputs import Outputs
from IR2QSMLib.pipeline.reconstruct import reconstruct
from IR2QSMLib.report.figure import Panel, draw_figure
from IR2QSMLib.report.table import markdown_table
from IR2QSMLib.simulation.cases import CASES, simulate, write_case

CASE = "brain, SNR 40"


def demo(folder: Path, device: str = "auto", progress: Progress = silent) -> str:
    """Simulate a brain, reconstruct it from its files by IR²QSM and TKD, and write maps, a figure and a table.

    The brain is drawn from a seed that no weights were trained on.

    Parameters
    ----------
    folder
        Where the files go.
    device
        "auto", "cpu", "cuda" or "mps".
    progress
        Called with the fraction done and the stage.

    Returns
    -------
    str
        The table of scores.
    """
    progress(0.0, "simulating a brain")
    head, field = simulate(CASES[CASE])
    with Outputs() as outputs:
        write_case(outputs, folder, head, field)
    files = {name: folder / f"{name}.nii.gz" for name in ("localfield", "mask", "chi", "chi_uncertainty")}
    maps, rows = {}, []
    methods: dict[str, Method | str] = {"IR²QSM": "ir2qsm", "TKD": TruncatedDivision()}
    for i, (name, method) in enumerate(methods.items()):
        start = time.perf_counter()
        report = part_of(progress, 0.3 + 0.3 * i, 0.6 + 0.3 * i)
        result = reconstruct(files["localfield"], files["mask"], method=method, device=device, progress=report)
        seconds = time.perf_counter() - start
        if method == "ir2qsm":
            result.save(files["chi"], uncertainty=files["chi_uncertainty"] if result.uncertainty is not None else None)
        scores = score(result.chi, head.chi, head.mask)
        maps[name] = result.chi
        rows.append(
            [
                name,
                f"{scores['xsim']:.3f}",
                f"{scores['nrmse_demeaned']:.1f}",
                f"{scores['hfen']:.1f}",
                f"{scores['correlation']:.3f}",
                f"{seconds:.1f}",
            ]
        )
    progress(0.95, "drawing")
    panels = [
        Panel("local field", field.values),
        *(Panel(name, chi) for name, chi in maps.items()),
        Panel("truth", head.chi),
        *(Panel(f"{name} − truth", chi - head.chi) for name, chi in maps.items()),
    ]
    draw_figure(folder / "demo.png", panels, head.mask, field.grid, title=f"Simulated {CASE} (power): χ in ppm")
    progress(1.0, "done")
    return markdown_table(rows, ["method", "XSIM", "NRMSE %", "HFEN", "correlation", "seconds"])
