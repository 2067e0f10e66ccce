"""SUMO's configuration options as this stage needs them: other spellings, and which ones name files.

The tables hold for SUMO 1.28 (``sumo --save-template FILE --save-commented`` prints the source); a test compares
them with the installed simulator.
"""

import os
import re

SYNONYMS = {
    "n": "net-file",
    "net": "net-file",
    "r": "route-files",
    "routes": "route-files",
    "a": "additional-files",
    "additional": "additional-files",
    "w": "weight-files",
    "weights": "weight-files",
    "measure": "weight-attribute",
    "x": "weight-attribute",
    "c": "configuration-file",
    "configuration": "configuration-file",
    "C": "save-configuration",
    "save-config": "save-configuration",
    "save-config.relative": "save-configuration.relative",
    "save-template.commented": "save-commented",
    "H": "human-readable-time",
    "ndump": "netstate-dump",
    "netstate": "netstate-dump",
    "netstate-output": "netstate-dump",
    "dump-empty-edges": "netstate-dump.empty-edges",
    "netstate-output.empty-edges": "netstate-dump.empty-edges",
    "netstate.empty-edges": "netstate-dump.empty-edges",
    "dump-precision": "netstate-dump.precision",
    "netstate-output.precision": "netstate-dump.precision",
    "netstate.precision": "netstate-dump.precision",
    "person-fcd": "person-fcd-output",
    "summary": "summary-output",
    "tripinfo": "tripinfo-output",
    "personinfo": "personinfo-output",
    "vehroutes": "vehroute-output",
    "vehroutes.exit-times": "vehroute-output.exit-times",
    "vehroutes.last-route": "vehroute-output.last-route",
    "vehroutes.sorted": "vehroute-output.sorted",
    "vehroutes.dua": "vehroute-output.dua",
    "vehroutes.intended-depart": "vehroute-output.intended-depart",
    "vehroutes.route-length": "vehroute-output.route-length",
    "personroutes": "personroute-output",
    "statistics-output": "statistic-output",
    "b": "begin",
    "e": "end",
    "s": "route-steps",
    "railsignal.moving-block": "railsignal-moving-block",
    "carfollow.model": "default.carfollowmodel",
    "device.rerouting.knownveh": "device.rerouting.explicit",
    "device.routing.period": "device.rerouting.period",
    "device.routing.pre-period": "device.rerouting.pre-period",
    "device.routing.adaptation-weight": "device.rerouting.adaptation-weight",
    "device.routing.adaptation-steps": "device.rerouting.adaptation-steps",
    "device.routing.adaptation-interval": "device.rerouting.adaptation-interval",
    "device.routing.with-taz": "device.rerouting.with-taz",
    "with-taz": "device.rerouting.with-taz",
    "person-device.routing.period": "person-device.rerouting.period",
    "routing-threads": "device.rerouting.threads",
    "v": "verbose",
    "?": "help",
    "V": "version",
    "X": "xml-validation",
    "W": "no-warnings",
    "suppress-warnings": "no-warnings",
    "l": "log",
    "log-file": "log",
    "no-duration-log": "duration-log.disable",
    "t": "duration-log.statistics",
    "taxi.vclasses": "device.taxi.vclasses",
    "device.fcd-replay.file": "device.fcd-replay.files",
    "meso.ignore-lanes.by-vclass": "meso-ignore-lanes-by-vclass",
    "abs-rand": "random",
    "srand": "seed",
    "g": "gui-settings-file",
    "Q": "quit-on-end",
    "G": "game",
    "S": "start",
    "d": "delay",
    "B": "breakpoints",
    "data-files": "edgedata-files",
    "m": "edgedata-files",
    "N": "alternative-net-file",
    "D": "demo",
    "T": "disable-textures",
}
"""Other spellings of an option, to its name. ``device.*.knownveh`` is handled by :func:`canonical`."""

INPUT_FILES = frozenset({
    "net-file", "route-files", "additional-files", "weight-files", "load-state",
    "fcd-output.filter-edges.input-file", "device.ssm.filter-edges.input-file", "astar.all-distances",
    "astar.landmark-distances", "phemlight-path", "device.fcd-replay.files", "gui-settings-file", "edgedata-files",
    "alternative-net-file", "selection-file",
})  # fmt: skip
"""Options that name files to read; relative paths count from the configuration's folder."""

GUI_FILES = frozenset({"gui-settings-file", "edgedata-files", "alternative-net-file", "selection-file"})
"""Files that only the graphical interface reads: left out where they are missing."""

_OUTPUTS = frozenset({
    "netstate-dump", "log", "message-log", "error-log", "save-state.prefix", "save-state.files",
    "pedestrian.jupedsim.wkt", "pedestrian.jupedsim.py", "device.ssm.file", "device.toc.file",
})  # fmt: skip

NEVER_PASSED_ON = frozenset({
    "configuration-file", "save-configuration", "save-configuration.relative", "save-template", "save-schema",
    "save-commented", "remote-port", "num-clients", "print-options", "help", "version", "game", "game.mode", "demo",
    "gui-testing", "gui-testing-debug", "gui-testing.setting-output", "error-log", "output-prefix", "output-suffix",
    "breakpoints",
})  # fmt: skip
"""Options that would write beside the project, end the run, or hand it to somebody else."""

_TIME = re.compile(r"^\s*(?:(\d+):)?(\d+):(\d+):(\d+(?:\.\d+)?)\s*$")
_VARIABLE = re.compile(r"\$\{(\w+)\}")


def canonical(name: str) -> str:
    """The option's full name.

    >>> canonical("n"), canonical("device.ssm.knownveh"), canonical("seed")
    ('net-file', 'device.ssm.explicit', 'seed')
    """
    if name.endswith(".knownveh"):
        return name.removesuffix("knownveh") + "explicit"
    return SYNONYMS.get(name, name)


def is_output(name: str) -> bool:
    """True for an option that names a file to write, also one that a later SUMO brings (``*-output``).

    >>> is_output("fcd-output"), is_output("device.rerouting.output"), is_output("fcd-output.geo")
    (True, True, False)
    """
    return name in _OUTPUTS or re.search(r"[.-]output$", name) is not None


def with_variables(value: str) -> str:
    """``${NAME}`` replaced from the environment, as SUMO does."""
    return _VARIABLE.sub(lambda match: os.environ.get(match[1], ""), value)


def parse_time_s(text: str) -> float:
    """Seconds in SUMO's spelling of times: a number, ``h:m:s`` or ``d:h:m:s``. Raises ``ValueError``.

    >>> parse_time_s("25200"), parse_time_s("7:00:00"), parse_time_s("1:00:00:30")
    (25200.0, 25200.0, 86430.0)
    """
    match = _TIME.match(text)
    if match is None:
        return float(text)
    days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def is_true(value: str) -> bool:
    """SUMO's spellings of true."""
    return value.strip().lower() in {"true", "1", "x", "t", "yes", "on"}
