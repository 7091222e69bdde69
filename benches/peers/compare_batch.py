"""Compares the outputs of the batch job, row by row and both ways. usage: compare_batch.py DUCKDB_OUT SMELT_PARQUETS"""
import sys
import duckdb

theirs, ours = sys.argv[1:3]
db = duckdb.connect()
db.execute("set timezone = 'UTC'")
SILVER = 'transaction_id, product_id, "timestamp"::timestamp as t, quantity, unit_price, store_id, revenue::decimal(38,2) as rev, event_date'
for name, columns, source in [
    ("silver", SILVER, f"read_parquet('{theirs}/silver/**/*.parquet', hive_partitioning=true)"),
    ("daily", "event_date, store_id, n, q, rev::decimal(38,2) as rev", f"'{theirs}/gold_daily.parquet'"),
    ("product", "event_date, product_id, n, q, rev::decimal(38,2) as rev", f"'{theirs}/gold_product.parquet'"),
    ("minute", "w::timestamp as w, store_id, n, rev::decimal(38,2) as rev", f"'{theirs}/gold_minute.parquet'"),
]:
    db.execute(f"create or replace view theirs as select {columns} from {source}")
    db.execute(f"create or replace view ours as select {columns} from '{ours}/{name}.parquet'")
    rows = db.execute("select count(*) from theirs").fetchone()[0]
    missing = db.execute("select count(*) from (from theirs except all from ours)").fetchone()[0]
    extra = db.execute("select count(*) from (from ours except all from theirs)").fetchone()[0]
    if missing or extra:
        sys.exit(f"{name}: of {rows} rows {missing} are missing, {extra} are too many")
    print(f"{name}: {rows} rows agree")
