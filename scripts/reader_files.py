"""The files that scripts/benchmark_readers reads: traffic made up, formats as they are published."""

import gzip
import json
from pathlib import Path

VEHICLES = 500
"""On the road at the same time."""
EDGES, LANES, EDGE_M = 40, 3, 400.0
SPEED_MPS = 13.5


def _rows(count: int):
    """Columns of made-up traffic: vehicles drive along a row of edges, each second, 500 at a time."""
    import numpy as np

    steps = -(-count // VEHICLES)
    time_s = np.repeat(np.arange(steps, dtype=float), VEHICLES)[:count]
    slot = np.tile(np.arange(VEHICLES), steps)[:count]
    life_s = int(EDGES * EDGE_M / SPEED_MPS)
    age = (time_s + slot * 7) % life_s
    trip = ((time_s + slot * 7) // life_s).astype(int)
    way_m = np.round(age * SPEED_MPS, 2)
    edge = np.minimum((way_m // EDGE_M).astype(int), EDGES - 1)
    return {
        "time_s": time_s,
        "vehicle": slot * 10_000 + trip,
        "edge": edge,
        "lane": slot % LANES,
        "position_m": np.round(way_m - edge * EDGE_M, 2),
        "x": way_m,
        "y": np.round(slot % LANES * 3.2, 2),
        "speed_mps": np.full(count, SPEED_MPS),
    }


def fcd(folder: Path, kind: str, rows: int) -> Path:
    """SUMO's output as XML, CSV or Parquet; made once."""
    path = folder / f"fcd_{rows}.{kind}"
    if not path.exists():
        {"xml": _fcd_xml, "csv": _fcd_csv, "parquet": _fcd_parquet}[kind](path, rows)
    return path


def _fcd_xml(path: Path, rows: int) -> None:
    made = _rows(rows)
    with path.open("w", encoding="utf-8") as stream:
        stream.write('<?xml version="1.0" encoding="UTF-8"?>\n\n<fcd-export>\n')
        last = None
        for number in range(rows):
            time_s = made["time_s"][number]
            if time_s != last:
                if last is not None:
                    stream.write("    </timestep>\n")
                stream.write(f'    <timestep time="{time_s:.2f}">\n')
                last = time_s
            stream.write(
                f'        <vehicle id="veh{made["vehicle"][number]}" x="{made["x"][number]:.2f}" '
                f'y="{made["y"][number]:.2f}" angle="90.00" type="car" speed="{SPEED_MPS:.2f}" '
                f'pos="{made["position_m"][number]:.2f}" lane="e{made["edge"][number]}_{made["lane"][number]}" '
                'slope="0.00"/>\n'
            )
        stream.write("    </timestep>\n</fcd-export>\n")


def _fcd_table(rows: int):
    import numpy as np
    import pyarrow as pa

    made = _rows(rows)
    lanes = pa.array([f"e{edge}_{lane}" for edge in range(EDGES) for lane in range(LANES)])
    code = (made["edge"] * LANES + made["lane"]).astype(np.int32)
    unique, index = np.unique(made["vehicle"], return_inverse=True)
    vehicles = pa.array([f"veh{number}" for number in unique])
    return pa.table(
        {
            "timestep_time": made["time_s"],
            "vehicle_id": pa.DictionaryArray.from_arrays(pa.array(index.astype(np.int32)), vehicles),
            "vehicle_x": made["x"],
            "vehicle_y": made["y"],
            "vehicle_angle": np.full(rows, 90.0),
            "vehicle_speed": made["speed_mps"],
            "vehicle_pos": made["position_m"],
            "vehicle_lane": pa.DictionaryArray.from_arrays(pa.array(code), lanes),
        }
    )


def _fcd_csv(path: Path, rows: int) -> None:
    _fcd_table(rows).to_pandas().to_csv(path, sep=";", index=False)


def _fcd_parquet(path: Path, rows: int) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = _fcd_table(rows)
    for name in ("vehicle_id", "vehicle_lane"):  # as SUMO writes them: plain strings
        table = table.set_column(table.column_names.index(name), name, table[name].cast(pa.string()))
    pq.write_table(table, path, row_group_size=100_000)


def many(folder: Path, rows: int) -> tuple[Path, Path]:
    """SUMO's Parquet with many rows, and the network that they drive on."""
    return fcd(folder, "parquet", rows), network(folder)


def network(folder: Path) -> Path:
    """A row of edges."""
    path = folder / "row.net.xml"
    bounds = f"0,0,{EDGES * EDGE_M},{3.2 * LANES}"
    where = f'netOffset="0,0" convBoundary="{bounds}" origBoundary="{bounds}" projParameter="!"'
    lines = ['<net version="1.20">', f"<location {where}/>"]
    for number in range(EDGES):
        low, high = number * EDGE_M, (number + 1) * EDGE_M
        lines.append(f'<edge id="e{number}" from="n{number}" to="n{number + 1}" priority="1">')
        lines += [
            f'<lane id="e{number}_{lane}" index="{lane}" speed="13.89" length="{EDGE_M}" '
            f'shape="{low},{3.2 * lane} {high},{3.2 * lane}"/>'
            for lane in range(LANES)
        ]
        lines.append("</edge>")
    for number in range(EDGES + 1):
        into = " ".join(f"e{number - 1}_{lane}" for lane in range(LANES)) if number else ""
        lines.append(
            f'<junction id="n{number}" type="priority" x="{number * EDGE_M}" y="0" incLanes="{into}" intLanes=""/>'
        )
    lines += [
        f'<connection from="e{number}" to="e{number + 1}" fromLane="{lane}" toLane="{lane}" dir="s" state="M"/>'
        for number in range(EDGES - 1)
        for lane in range(LANES)
    ]
    path.write_text("\n".join([*lines, "</net>"]), encoding="utf-8")
    return path


def others(folder: Path, rows: int) -> list[tuple[str, Path, tuple[str, ...]]]:
    """One file of each other format: name, path and mapping."""
    return [
        ("ngsim, 18 columns", _ngsim(folder, rows), ()),
        ("highd", _highd(folder, rows), ()),
        ("pneuma", _pneuma(folder, rows), ()),
        ("i24", _i24(folder, rows), ()),
        ("commonroad", _commonroad(folder, rows), ()),
        (
            "csv by mapping, speed derived",
            fcd(folder, "csv", rows),
            ("time=timestep_time:s", "vehicle=vehicle_id", "x=vehicle_x:m", "y=vehicle_y:m"),
        ),
    ]


def _tracks(rows: int):
    """The rows as one table per vehicle, in the order of vehicles."""
    import pandas as pd

    return pd.DataFrame(_rows(rows)).sort_values(["vehicle", "time_s"], kind="stable")


def _ngsim(folder: Path, rows: int) -> Path:
    import pandas as pd

    t = _tracks(rows)
    feet = 1 / 0.3048
    frame = (t["time_s"] * 10).astype(int)
    table = pd.DataFrame(
        {
            "Vehicle_ID": t["vehicle"], "Frame_ID": frame, "Total_Frames": 1,
            "Global_Time": 1_118_846_980_200 + frame * 100,
            "Local_X": t["y"] * feet, "Local_Y": t["x"] * feet, "Global_X": t["x"] * feet, "Global_Y": t["y"] * feet,
            "v_Length": 15.0, "v_Width": 6.0, "v_Class": 2, "v_Vel": t["speed_mps"] * feet, "v_Acc": 0.0,
            "Lane_ID": t["lane"] + 1, "Preceding": 0, "Following": 0, "Space_Headway": 0.0, "Time_Headway": 0.0,
        }
    )  # fmt: skip
    path = folder / "ngsim.csv"
    table.round(3).to_csv(path, index=False)
    return path


def _highd(folder: Path, rows: int) -> Path:
    import pandas as pd

    t = _tracks(rows)
    table = pd.DataFrame(
        {
            "frame": (t["time_s"] * 25).astype(int), "id": t["vehicle"], "x": t["x"], "y": t["y"], "width": 4.5,
            "height": 1.9, "xVelocity": t["speed_mps"], "yVelocity": 0.0, "xAcceleration": 0.0, "yAcceleration": 0.0,
            "laneId": t["lane"] + 5,
        }
    )  # fmt: skip
    table.to_csv(folder / "01_tracks.csv", index=False)
    (folder / "01_recordingMeta.csv").write_text("id,frameRate,locationId\n1,25,2\n", encoding="utf-8")
    meta = pd.DataFrame({"id": t["vehicle"].unique()}).assign(**{"class": "Car", "drivingDirection": 2})
    meta.to_csv(folder / "01_tracksMeta.csv", index=False)
    return folder / "01_tracks.csv"


def _pneuma(folder: Path, rows: int) -> Path:
    path = folder / "pneuma.csv"
    with path.open("w", encoding="utf-8") as stream:
        stream.write("track_id; type; traveled_d; avg_speed; lat; lon; speed; lon_acc; lat_acc; time\n")
        for vehicle, t in _tracks(rows).groupby("vehicle"):
            stream.write(f"{vehicle}; Car; 100.0; 40.0; ")
            for x, y, time_s in zip(t["x"], t["y"], t["time_s"], strict=True):
                lat, lon = 37.98 + y / 111_000, 23.73 + x / 87_600
                stream.write(f"{lat:.6f}; {lon:.6f}; {SPEED_MPS * 3.6:.4f}; 0.0000; 0.0000; {time_s:.6f}; ")
            stream.write("\n")
    return path


def _i24(folder: Path, rows: int) -> Path:
    path = folder / "i24.json.gz"
    documents = [
        {
            "_id": {"$oid": f"{int(vehicle):024x}"},
            "timestamp": [1_669_100_400.0 + time_s for time_s in t["time_s"]],
            "x_position": [round(x / 0.3048, 3) for x in t["x"]],
            "y_position": [12.0] * len(t),
            "direction": 1, "length": 15.0, "width": 6.0, "height": 5.0, "coarse_vehicle_class": 0,
        }
        for vehicle, t in _tracks(rows).groupby("vehicle")
    ]  # fmt: skip
    with gzip.open(path, "wt", encoding="utf-8", compresslevel=1) as stream:
        json.dump(documents, stream)
    return path


def _commonroad(folder: Path, rows: int) -> Path:
    path = folder / "scene.xml"
    with path.open("w", encoding="utf-8") as stream:
        stream.write('<commonRoad commonRoadVersion="2020a" benchmarkID="ZAM_Row-1_1_T-1" timeStepSize="1">\n')
        for vehicle, t in _tracks(rows).groupby("vehicle"):
            stream.write(
                f'<dynamicObstacle id="{vehicle}"><type>car</type><shape><rectangle><length>4.5</length>'
                "<width>1.9</width></rectangle></shape><trajectory>\n"
            )
            for x, y, time_s in zip(t["x"], t["y"], t["time_s"], strict=True):
                stream.write(
                    f"<state><position><point><x>{x}</x><y>{y}</y></point></position><velocity><exact>{SPEED_MPS}"
                    f"</exact></velocity><time><exact>{int(time_s)}</exact></time></state>\n"
                )
            stream.write("</trajectory></dynamicObstacle>\n")
        stream.write("</commonRoad>\n")
    return path
