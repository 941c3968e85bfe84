# Writes Parquet files as DuckDB and PyArrow users make them, for rowback to take or to refuse.
import datetime, decimal, sys, uuid
import duckdb, pyarrow as pa, pyarrow.parquet as pq

directory = sys.argv[1]
duckdb.sql("set timezone = 'UTC'")
duckdb.sql(f"""copy (select * from (values
    ('{{1,2}}', 1::bigint, -7::smallint, 12.5::decimal(18,4), 0.333::decimal(9,3), E'O''Neil\n', timestamptz '2026-11-19 14:03:00.5+00',
     timestamp '2026-11-19 14:03:00', date '2026-11-19', time '14:03:00.25', uuid 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
     '\\x00\\xff'::blob, 0.1::double, true),
    (null, 2, null, null, null, '', null, null, null, null, null, null, null, null))
    as t (c13, c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, c12)) to '{directory}/duckdb.parquet' (format parquet)""")
utc = datetime.timezone.utc
columns = {
    "c4": pa.array(["O'Neil\n", ""], pa.large_string()).dictionary_encode(),
    "c0": pa.array([1, 2], pa.uint32()),
    "c1": pa.array([-7, None], pa.int64()),
    "c2": pa.array([decimal.Decimal("12.5"), None], pa.decimal128(5, 1)),
    "c3": pa.array([decimal.Decimal("0.333"), None], pa.decimal128(38, 3)),
    "c5": pa.array([datetime.datetime(2026, 11, 19, 14, 3, 0, 500000, utc), None], pa.timestamp("ns", "Europe/Berlin")),
    "c6": pa.array([datetime.datetime(2026, 11, 19, 14, 3), None], pa.timestamp("ms")),
    "c7": pa.array([datetime.date(2026, 11, 19), None], pa.date32()),
    "c8": pa.array([datetime.time(14, 3, 0, 250000), None], pa.time32("ms")),
    "c9": pa.array([uuid.UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11").bytes, None], pa.binary(16)),
    "c10": pa.array([b"\x00\xff", None], pa.large_binary()),
    "c11": pa.array([0.1, None], pa.float64()),
    "c12": pa.array([True, None], pa.bool_()),
    "c13": pa.array(["{1,2}", None], pa.string_view()),
}
pq.write_table(pa.table(columns), directory + "/pyarrow.parquet")
pq.write_table(pa.table({"c0": [1.5]}), directory + "/float.parquet")
pq.write_table(pa.table({"c0": [1, 2, 40000]}), directory + "/large.parquet")
pq.write_table(pa.table({"c0": [[1, 2]]}), directory + "/nested.parquet")
pq.write_table(pa.table({"c0": [datetime.datetime(2026, 11, 19)]}), directory + "/naive.parquet")
