"""A run's folder: the configuration it starts from, and everything that it writes.

The project's files are read where they lie. Its outputs, those that options ask for as those that detectors in
additional files write, are redirected into the run's folder. What decides a run stands in its ``run.sumocfg``,
so ``sumo-gui -c run.sumocfg`` shows the same run again.
"""

from io import StringIO
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from scenariogen.errors import SimulationError
from scenariogen.simulation.contract import RunRequest
from scenariogen.simulation.options import INPUT_FILES, NEVER_PASSED_ON, is_output
from scenariogen.simulation.overrides import fixed_options
from scenariogen.simulation.project import SumoProject
from scenariogen.simulation.references import write_redirected, writes_files
from scenariogen.simulation.repeat import write_copies
from scenariogen.simulation.scaling import DemandIndex, deviations, has_departures, write_scaled
from scenariogen.simulation.stations import station_elements

CONFIGURATION = "run.sumocfg"
MESSAGES = "messages.txt"
CONSOLE = "console.txt"
DETECTORS = "detectors.add.xml"
EDGE_DATA = "edgedata.xml"
EMISSIONS = "emissions.xml"
EDGE_DATA_COUNTS = ("departed", "entered", "left", "arrived")
PROJECT_OUTPUT = "project-output"
INPUT = "input"
DETECTOR_LENGTH_M = 60.0
_FOLDER = "@run-folder@"  # stands for the run's folder in text that is the same for all runs


class Staging:
    """Writes run folders of one project. What is the same for all runs is worked out once.

    ``work_folder``       where copies of short demand are kept for all runs; None: each run keeps its own, as one whose
                          folder stays does in any case
    ``project_outputs``   False: what the project itself would write is not written at all
    """

    def __init__(self, project: SumoProject, work_folder: Path | None, project_outputs: bool) -> None:
        self.project = project
        self.work_folder = work_folder
        self.project_outputs = project_outputs
        self._names: dict[str, str] = {}
        self._texts: dict[Path, str | None] = {}
        self._includes: dict[Path, list[Path]] = {}
        self._index: DemandIndex | None = None

    def write(self, request: RunRequest, *, gui: bool = False) -> Path:
        """Prepare ``request.folder`` and return its configuration."""
        folder = request.folder.absolute()
        if "," in str(folder) or ":" in str(folder):
            raise SimulationError(
                f"the run's folder is {folder}: SUMO cannot write to paths with a comma or a colon, choose another"
            )
        folder.mkdir(parents=True, exist_ok=True)
        options = self._options(request, folder, gui)
        lines = [f"    <{name} value={quoteattr(value)}/>" for name, value in options.items() if value != ""]
        path = folder / CONFIGURATION
        path.write_text("<sumoConfiguration>\n" + "\n".join(lines) + "\n</sumoConfiguration>\n", encoding="utf-8")
        return path

    def _options(self, request: RunRequest, folder: Path, gui: bool) -> dict[str, str]:
        project, window = self.project, request.window
        options = {
            name: value
            for name, value in project.options.items()
            if name not in NEVER_PASSED_ON and name not in INPUT_FILES and not is_output(name)
        }
        if self.project_outputs:
            outputs = self._outputs(folder)
            if outputs:
                (folder / PROJECT_OUTPUT).mkdir(exist_ok=True)
            options |= outputs
        else:
            options = {name: value for name, value in options.items() if not name.startswith("save-state.")}
        options |= self._inputs(request, folder)
        options |= fixed_options(project)
        options |= {
            "begin": f"{window.begin_s:.3f}",
            "end": f"{window.end_s:.3f}",
            "seed": str(request.seed),
            "error-log": _quoted(folder / MESSAGES),
        }
        options["scale"] = f"{request.demand_scale * float(project.options.get('scale', '1')):.6f}"
        # vehicles that measure conflicts write one file each into the current folder unless one is named
        options.setdefault("device.ssm.file", _quoted(folder / "ssm.xml"))
        options |= {name: _quoted(folder / file) for name, file in request.outputs.items()}
        options |= request.options
        return {name: value for name, value in options.items() if gui or name not in ("quit-on-end", "start", "delay")}

    def _outputs(self, folder: Path) -> dict[str, str]:
        """The project's own outputs, in the run's folder."""
        theirs = self.project.options
        outputs = {
            name: _quoted(folder / PROJECT_OUTPUT / self._name(self.project.sumocfg.parent, value))
            for name, value in theirs.items()
            if is_output(name) and name not in NEVER_PASSED_ON
        }
        if {"save-state.times", "save-state.period"} & theirs.keys():
            outputs.setdefault("save-state.prefix", _quoted(folder / PROJECT_OUTPUT / "state"))
        return outputs

    def _inputs(self, request: RunRequest, folder: Path) -> dict[str, str]:
        """Options that name files to read: the project's own places, or copies with outputs redirected."""
        inputs = {name: list(files) for name, files in self.project.inputs.items()}
        shared = None if request.keep else self.work_folder
        copies = write_copies(self.project, request.window, shared or folder)
        if copies is not None:
            inputs["route-files"] = [*inputs.get("route-files", []), copies]
        for name in ("net-file", "route-files", "additional-files"):
            inputs[name] = [self._staged(file, folder) for file in inputs.get(name, [])]
        self._scale(inputs, request, folder)
        extra = _extra_definitions(self.project, request)
        if extra:
            path = folder / DETECTORS
            path.write_text(extra, encoding="utf-8")
            inputs["additional-files"].append(path)
        return {name: ",".join(self._readable(file, folder) for file in files) for name, files in inputs.items()}

    def _scale(self, inputs: dict[str, list[Path]], request: RunRequest, folder: Path) -> None:
        """Put copies in the place of files with departures, where some entry is asked another scale than the rest."""
        asked = deviations(request)
        if not asked:
            return
        if self._index is None:
            self._index = DemandIndex.of(self.project)
        (folder / INPUT).mkdir(exist_ok=True)
        for name in ("route-files", "additional-files"):
            for place, file in enumerate(inputs[name]):
                if has_departures(file):
                    plain = file.name.removesuffix(".gz").replace(",", "_")
                    copy = folder / INPUT / f"scaled-{name}-{place}-{plain}"
                    inputs[name][place] = write_scaled(file, copy, asked, self._index, request.seed)

    def _readable(self, file: Path, folder: Path) -> str:
        """A path that SUMO can read: it takes a comma for the end of a file name."""
        if "," not in str(file):
            return _quoted(file)
        link = folder / INPUT / self._name(file.parent, file.name, INPUT)
        link.parent.mkdir(exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(file)
        return _quoted(link)

    def _staged(self, file: Path, folder: Path) -> Path:
        """The file itself, or its copy in the run's folder where it names files to write."""
        text = self._text(file)
        if text is None:
            return file
        copy = folder / INPUT / self._name(file.parent, file.name, INPUT)
        for needed in (copy.parent, folder / PROJECT_OUTPUT):
            needed.mkdir(exist_ok=True)
        copy.write_text(text.replace(_FOLDER, escape(str(folder), {'"': "&quot;"})), encoding="utf-8")
        for other in self._includes.get(file, ()):
            self._staged(other, folder)
        return copy

    def _text(self, file: Path) -> str | None:
        if file not in self._texts:
            self._texts[file] = self._redirected(file) if writes_files(file) else None
        return self._texts[file]

    def _redirected(self, file: Path) -> str:
        target = StringIO()

        def output(path: Path, destination: str) -> str:
            if not self.project_outputs:
                return "NUL"
            return f"{_FOLDER}/{PROJECT_OUTPUT}/{self._name(path.parent, destination)}"

        def include(path: Path) -> str:
            if self._text(path) is None:
                return str(path)
            self._includes.setdefault(file, []).append(path)
            return f"{_FOLDER}/{INPUT}/{self._name(path.parent, path.name, INPUT)}"

        write_redirected(file, target, output=output, include=include)
        return target.getvalue()

    def _name(self, folder: Path, destination: str, kind: str = PROJECT_OUTPUT) -> str:
        """A file name of its own for every destination; the same destination keeps the same name."""
        key = f"{kind} {folder / destination}"
        if key not in self._names:
            name = Path(destination).name.removesuffix(".gz" if kind == INPUT else "\0")
            name = name.replace(":", "_").replace(",", "_") or "output.xml"
            taken = set(self._names.values())
            while name in taken:
                name = f"_{name}"
            self._names[key] = name
        return self._names[key]


def _quoted(path: Path) -> str:
    """SUMO decodes ``%`` sequences in the paths of a configuration."""
    return str(path).replace("%", "%25")


def _extra_definitions(project: SumoProject, request: RunRequest) -> str:
    """Our virtual detectors and edge measurements as an additional file; empty where none is asked for."""
    lanes = {lane.id: lane for edge in project.network().edges.values() for lane in edge.lanes}
    stations = (lane for station in request.stations for lane in station.lanes)
    wanted = [*request.detector_lanes, *(loop.lane for loop in request.loops), *stations]
    missing = [lane for lane in wanted if lane not in lanes]
    if missing:
        raise SimulationError(
            f"lanes {missing[:5]} are asked to carry detectors but are not in {project.net_file.name}"
        )
    lines = []
    for number, lane in enumerate(request.detector_lanes):
        length_m = lanes[lane].length_m
        start_m = max(length_m - DETECTOR_LENGTH_M, 0.0)
        lines.append(
            f'    <laneAreaDetector id="{detector_id(number)}" lane={quoteattr(lane)} pos="{start_m:.2f}" '
            f'endPos="{length_m:.2f}" period="86400" friendlyPos="true" file="NUL"/>'
        )
    for number, loop in enumerate(request.loops):
        length_m = lanes[loop.lane].length_m
        position_m = loop.position_m if loop.position_m >= 0 else length_m + loop.position_m
        lines.append(
            f'    <inductionLoop id="{loop_id(number)}" lane={quoteattr(loop.lane)} '
            f'pos="{min(max(position_m, 0.1), length_m - 0.1):.2f}" '
            f'period="{request.detector_options.interval_s:g}" friendlyPos="true" file="NUL"/>'
        )
    lines += station_elements(request.stations)
    if request.edge_data_period_s:
        lines.append(
            f'    <edgeData id="scenariogen-edges" file="{EDGE_DATA}" period="{request.edge_data_period_s:g}" '
            f'begin="{request.window.begin_s:.3f}" excludeEmpty="true" writeAttributes="{" ".join(EDGE_DATA_COUNTS)}"/>'
        )
    if request.emissions:
        lines.append(
            f'    <edgeData id="scenariogen-emissions" type="emissions" file="{EMISSIONS}" '
            f'begin="{request.window.begin_s:.3f}" excludeEmpty="true" withInternal="true"/>'
        )
    return "<additional>\n" + "\n".join(lines) + "\n</additional>\n" if lines else ""


def detector_id(number: int) -> str:
    """Id of the virtual detector on the lane with that number in ``detector_lanes``."""
    return f"scenariogen-detector-{number}"


def loop_id(number: int) -> str:
    """Id of the virtual induction loop with that number in ``loops``."""
    return f"scenariogen-loop-{number}"


def messages(folder: Path) -> list[str]:
    """SUMO's errors in a run's folder, one line each, without its decoration.

    Where it called nothing an error, whatever it wrote to the console (``sumo-gui`` without a display).
    """
    texts = []
    for name in (CONSOLE, MESSAGES):
        path = folder / name
        if path.is_file():
            texts.append(path.read_text(encoding="utf-8", errors="replace"))
    lines: list[str] = []
    for line in "\n".join(texts).splitlines():
        line = line.strip()
        if line.startswith("Error:"):
            lines.append(line.removeprefix("Error:").strip())
        elif lines and line and not line.startswith(("Warning:", "Quitting", "Error")):
            lines[-1] = f"{lines[-1]} {line}"
    if not lines and (folder / CONSOLE).is_file():
        lines = [line.strip() for line in texts[0].splitlines() if not line.startswith("Warning:")]
    return list(dict.fromkeys(line for line in lines if line))
