"""Peer: Spark Structured Streaming from Kafka to files. usage: kafka_spark.py SERVERS TOPIC delta|parquet JARS TABLE CHECKPOINT"""
import glob
import os
import sys

from pyspark.sql import SparkSession
from pyspark.sql.functions import col, from_json

servers, topic, kind, jars, table, checkpoint = sys.argv[1:7]
spark = (SparkSession.builder.master("local[2]").config("spark.jars", ",".join(glob.glob(os.path.join(jars, "*.jar"))))
         .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
         .config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
         .config("spark.sql.shuffle.partitions", "2").config("spark.default.parallelism", "2")
         .config("spark.databricks.delta.snapshotPartitions", "2").config("spark.driver.memory", "4g")
         .config("spark.sql.session.timeZone", "UTC").config("spark.ui.enabled", "false")
         .config("spark.sql.parquet.compression.codec", "zstd").getOrCreate())
spark.sparkContext.setLogLevel("ERROR")
schema = "transaction_id string, product_id string, timestamp timestamp, quantity int, unit_price decimal(18,2), store_id string"
messages = (spark.readStream.format("kafka").option("kafka.bootstrap.servers", servers).option("subscribe", topic)
            .option("startingOffsets", "earliest").option("maxOffsetsPerTrigger", 2_000_000).load())
events = messages.select(from_json(col("value").cast("string"), schema).alias("event"), "partition", "offset", "timestamp")
events = events.select("event.*", col("partition").alias("_partition"), col("offset").alias("_offset"),
                       col("timestamp").alias("_arrived_at"))
query = (events.writeStream.format(kind).option("checkpointLocation", checkpoint).option("path", table)
         .trigger(availableNow=True).start())
query.awaitTermination()
print(f"{spark.read.format(kind).load(table).count()} events")
java = spark.sparkContext._gateway.proc
spark.stop()
# Java is a process of its own, which ends when its input does: what it used counts once it was waited for.
java.stdin.close()
java.wait()
