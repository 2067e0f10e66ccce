"""Columns of the Parquet form of scenario files."""


def parquet_schema():
    """Arrow schema of the Parquet form; nested fields as in the records."""
    import pyarrow as pa

    real, whole = pa.float64(), pa.int64()
    incident = pa.struct(
        {
            "edge": pa.string(),
            "start_s": real,
            "position_m": real,
            "kind": pa.string(),
            "lanes": pa.list_(whole),
            "capacity_left": real,
            "detection_s": real,
            "response_s": real,
            "clearance_s": real,
        }
    )
    condition = pa.struct(
        {
            "clock_s": real,
            "day_type": pa.string(),
            "weather": pa.string(),
            "demand_scale": real,
            "day_multiplier": real,
            "demand_factors": pa.list_(real),
            "entry_scales": pa.map_(pa.string(), real),
        }
    )
    drivers = pa.struct(  # what drivers are told is null where nobody is told anything
        {
            "reroute_share": real,
            "reroute_after_s": real,
            "sign_edges": pa.list_(pa.string()),
            "sign_delay_s": real,
            "sign_compliance": real,
            "radio_share": real,
            "radio_delay_s": real,
            "radio_compliance": real,
            "navigation_share": real,
            "navigation_delay_s": real,
            "navigation_compliance": real,
            "return_share": real,
        }
    )
    density = pa.struct(
        {
            "component": whole,
            "log_model": real,
            "log_proposal": real,
            "counts": pa.list_(whole),
            "expected": pa.list_(real),
            "expected_given": pa.list_(real),
            "counts_given": pa.list_(whole),
            "log_durations": pa.list_(real),
        }
    )
    return pa.schema(
        {
            "index": whole,
            "seed": whole,
            "condition": condition,
            "incidents": pa.list_(incident),
            "drivers": drivers,
            "density": density,
            "effects": pa.list_(pa.string()),  # each one JSON object, as in the JSON form
            "lanes_reopen": pa.string(),  # null: at once
        }
    )
