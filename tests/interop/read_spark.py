"""Spark with Delta reads every table of a lake. usage: read_spark.py LAKE JARS (a folder with the Delta jars)"""
import glob, os, sys
from pyspark.sql import SparkSession
from pyspark.sql.types import (ArrayType, BinaryType, ByteType, DecimalType, IntegerType, LongType, ShortType, StringType,
                               StructType)
from tables import PARTS, Answers, tables

lake, jars = sys.argv[1:3]
spark = (SparkSession.builder.master("local[2]").config("spark.jars", ",".join(glob.glob(os.path.join(jars, "*.jar"))))
         .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
         .config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
         .config("spark.sql.shuffle.partitions", "2").config("spark.default.parallelism", "2")
         .config("spark.databricks.delta.snapshotPartitions", "2")
         .config("spark.sql.session.timeZone", "UTC").config("spark.ui.enabled", "false").getOrCreate())
spark.sparkContext.setLogLevel("ERROR")
answers = Answers()
for name, path in tables(lake):
    frame = spark.read.format("delta").load(path)
    numeric = [f.name for f in frame.schema.fields
               if isinstance(f.dataType, (ByteType, ShortType, IntegerType, LongType, DecimalType))]
    # A sum of longs would wrap in Spark: decimals do not.
    wide = [f"cast(`{f.name}` as decimal(38,{f.dataType.scale if isinstance(f.dataType, DecimalType) else 0}))"
            for f in frame.schema.fields if f.name in numeric]
    row = frame.selectExpr("count(*)", *[f"sum({w})" for w in wide]).collect()[0]
    lists = {}
    for column in [f for f in frame.schema.fields if isinstance(f.dataType, ArrayType) and isinstance(f.dataType.elementType, StructType)]:
        # The size of null is -1.
        lists[f"elements({column.name})"] = f"sum(if(`{column.name}` is null, 0, size(`{column.name}`)))"
        for field in column.dataType.elementType.fields:
            kept = f"filter(`{column.name}`, x -> x.`{field.name}` is not null)"
            lists[f"values({column.name}.{field.name})"] = f"sum(if(`{column.name}` is null, 0, size({kept})))"
    held = frame.selectExpr(*lists.values()).collect()[0] if lists else []
    answers.table(name, row[0], dict(zip(numeric, row[1:])), dict(zip(lists, held)))
    for column in [f.name for f in frame.schema.fields if isinstance(f.dataType, (BinaryType, StringType))]:
        answers.texts(name, column, (value for [value] in frame.select(column).collect()))
        if dict(frame.dtypes).get("id") == "bigint":
            # By the other of Spark's two readers.
            spark.conf.set("spark.sql.parquet.enableVectorizedReader", "false")
            for of, rows in PARTS.items():
                answers.texts(name, column, (value for [value] in frame.where(rows).select(column).collect()), of)
            spark.conf.set("spark.sql.parquet.enableVectorizedReader", "true")
spark.stop()
