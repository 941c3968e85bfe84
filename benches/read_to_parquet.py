"""Reads a table into a Parquet file (zstd) as people do today: read_to_parquet.py connectorx|adbc URL TABLE OUT."""
import sys

import pyarrow.parquet

tool, url, table, out = sys.argv[1:]
if tool == "connectorx":
    import connectorx

    rows = connectorx.read_sql(url, f"select * from {table}", return_type="arrow")
    pyarrow.parquet.write_table(rows, out, compression="zstd")
else:
    import adbc_driver_postgresql.dbapi

    with adbc_driver_postgresql.dbapi.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(f"select * from {table}")
        reader = cursor.fetch_record_batch()
        with pyarrow.parquet.ParquetWriter(out, reader.schema, compression="zstd") as writer:
            for batch in reader:
                writer.write_batch(batch)
