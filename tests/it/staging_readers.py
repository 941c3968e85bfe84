# Reads the staged files of a directory (public.*.parquet, public.*.csv) with PyArrow and DuckDB and compares them with
# the COPY rows in rows.copy. Natively typed columns are compared as values, text columns byte for byte.
import datetime, decimal, glob, re, sys
from ctypes import c_float
import duckdb, pyarrow as pa, pyarrow.csv, pyarrow.parquet

directory = sys.argv[1]
parquet, csv = glob.glob(directory + "/public.*.parquet")[0], glob.glob(directory + "/public.*.csv")[0]
ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\"}


def field(raw):
    return None if raw == "\\N" else re.sub(r"\\(.)", lambda m: ESCAPES[m.group(1)], raw)


lines = open(directory + "/rows.copy", encoding="utf-8", newline="\n").read().split("\n")
expected = [[field(raw) for raw in line.split("\t")] for line in lines]


def as_text(value):
    """A native value as PostgreSQL prints it; floats are compared as numbers."""
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, (bytes, bytearray, memoryview)):
        return "\\x" + bytes(value).hex()
    if isinstance(value, datetime.datetime):
        zone = "+00" if value.tzinfo else ""
        value = (value.astimezone(datetime.timezone.utc) if value.tzinfo else value).replace(tzinfo=None)
        text = value.isoformat(sep=" ")
        return (text.rstrip("0") if "." in text else text) + zone
    if isinstance(value, datetime.time):
        text = value.isoformat()
        return text.rstrip("0") if "." in text else text
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    return None if value is None else str(value)


def same(text, value):
    if text is None or value is None or isinstance(value, str):
        return text == value
    if isinstance(value, float):
        number = float(text)
        # A `real` reads back to the same 32 bits from fewer digits than its 64-bit value has.
        return number == value or number != number and value != value or c_float(number).value == value
    return text == as_text(value)


def differences(name, rows, same=same):
    if len(rows) != len(expected):
        return ["%s: differs in the number of rows, %d for %d" % (name, len(rows), len(expected))]
    return ["%s: differs in row %d column %d: %r for %r" % (name, r, c, got[c], want[c])
            for r, (want, got) in enumerate(zip(expected, rows)) for c in range(len(want)) if not same(want[c], got[c])]


table = pyarrow.parquet.read_table(parquet)
for column in table.schema:
    assert column.metadata[b"rowback.encoding"] in (b"native", b"text") and column.metadata[b"rowback.pg_type"], column
for metadata in table.schema.metadata, pyarrow.parquet.read_metadata(parquet).metadata:
    assert metadata[b"rowback.format"] == b"1" and metadata[b"rowback.table"] and metadata[b"rowback.key"], metadata
found = differences("pyarrow parquet", [list(row.values()) for row in table.to_pylist()])

duckdb.sql("set timezone = 'UTC'")
# DuckDB's Python client wants pytz for instants with a zone; their text does without.
zoned = [field.name for field in table.schema if pa.types.is_timestamp(field.type) and field.type.tz]
texts = f"replace ({', '.join(f'{name}::varchar as {name}' for name in zoned)})" if zoned else ""
found += differences("duckdb parquet", duckdb.sql(f"select * {texts} from read_parquet('{parquet}')").fetchall())

names = {name: "varchar" for name in table.column_names}
options = "header = true, auto_detect = false, delim = ',', quote = '\"', escape = '\"', nullstr = '', allow_quoted_nulls = false"
text = duckdb.sql(f"from read_csv('{csv}', columns = {names}, {options})")
found += differences("duckdb csv", text.fetchall(), lambda want, got: want == got)

convert = pyarrow.csv.ConvertOptions(column_types={name: pa.string() for name in names}, null_values=[""],
                                     strings_can_be_null=True, quoted_strings_can_be_null=False)
parse = pyarrow.csv.ParseOptions(newlines_in_values=True)
text = pyarrow.csv.read_csv(csv, parse_options=parse, convert_options=convert)
found += differences("pyarrow csv", [list(row.values()) for row in text.to_pylist()], lambda want, got: want == got)
print("\n".join(found) if found else "%d columns, %d rows: the same" % (len(names), len(expected)))
