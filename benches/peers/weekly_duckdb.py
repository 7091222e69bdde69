"""Peer: DuckDB computes the weekly fact by the model's own SQL. usage: weekly_duckdb.py LAKE.json MODEL.sql OUTDIR"""
import resource
import sys
import time
from lake_duckdb import connect, dialect

lake, model, out = sys.argv[1:4]
db = connect(lake)
with open(model) as file:
    sql = dialect(file.read())
began = time.time()
db.execute(f"copy ({sql}) to '{out}/weekly.parquet' (format parquet, compression zstd)")
print(f"duckdb total {time.time() - began:.2f} s, peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")
