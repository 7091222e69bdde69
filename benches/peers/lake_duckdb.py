"""DuckDB over the data files of a lake: the files that our log names, as views of the names that SQL knows."""
import json
import sys
import duckdb

# `ratio` of Smelt: null over zero, a double without a scale, a decimal with one.
MACROS = """
create macro ratio(a, b) as case when b = 0 then null else a::double / b::double end,
  (a, b, places) as case when b = 0 then null else round(a::double / b::double, places)::decimal(38, 10) end
"""


def connect(lake):
    """A connection on two threads, with a view for each table and model of `lake` (the JSON that `benches` writes)."""
    db = duckdb.connect()
    for setting in ["threads = 2", "preserve_insertion_order = false", "timezone = 'UTC'", "parquet_metadata_cache = true"]:
        db.execute(f"set {setting}")
    db.execute(MACROS)
    with open(lake) as file:
        described = json.load(file)
    for schema in ["bronze", "silver", "gold", "quarantine", "quality"]:
        db.execute(f"create schema {schema}")
    db.execute("use gold")
    for table in described["tables"]:
        types = ", ".join(f"'{column}': {kind}" for column, kind in table["partitions"].items())
        hive = f", hive_partitioning = true, hive_types = {{{types}}}" if types else ""
        where = f" where {table['where']}" if table["where"] else ""
        columns = table["columns"]
        db.execute(f"create view {table['name']} as select {columns} from read_parquet({table['files']}{hive}){where}")
    create_views(db, described["views"])
    return db


def create_views(db, views):
    """Makes views that may read each other: those that cannot be made yet are tried again after the others."""
    failed = []
    for view in views:
        try:
            db.execute(f"create view {view['name']} as {dialect(view['sql'])}")
        except duckdb.Error as error:
            failed.append((view, error))
    if len(failed) < len(views):
        create_views(db, [view for view, _ in failed])
        return
    for view, error in failed:
        print(f"no view {view['name']}: {str(error).splitlines()[0]}", file=sys.stderr)


def dialect(sql):
    """The statement as DuckDB says it: as an aggregate, last_value is last there, and an instant has its zone."""
    return sql.replace("last_value(", "last(").replace("first_value(", "first(")
