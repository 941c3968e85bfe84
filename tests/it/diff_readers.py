# Reads a diff file with DuckDB the way README says, and prints what it finds: verdicts, and one value out of both sides.
import sys
import duckdb

file, column = sys.argv[1:]
for row in duckdb.sql(f"""
    select * exclude (rowback_backup, rowback_live), rowback_backup ->> '$.{column}' as backup, rowback_live ->> '$.{column}' as live
    from '{file}' where rowback_verdict <> 'same' order by all""").fetchall():
    print("|".join("NULL" if value is None else str(value) for value in row))
