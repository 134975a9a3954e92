"""Reads the lake back with Spark and compares it with the Gold tables: fold.py FOLDER_OF_A_TOPIC=TABLE ...

    fold.py s3a://lake/tesouro/postgres-dadostesouroipca_gold=public.dadostesouroipca_gold

Exit 1, and the rows, where they differ.
"""

import sys

from pyspark.sql import SparkSession

from job import read, transform


def fold(spark: SparkSession, folder: str, table: str) -> int:
    # `_` and `.` names (the pin of the layout, sidecar files) are hidden from Spark. gzip is undone by the name.
    objects = (spark.read.option("wholetext", "true").option("recursiveFileLookup", "true").option("pathGlobFilter", "*+*.json*")
               .text(folder).selectExpr("value", "_metadata.file_path as path"))
    objects.createOrReplaceTempView("objects")
    read(spark, f'select * from {table}').createOrReplaceTempView("gold_table")
    transform(spark, "fold")
    difference = spark.table("fold_difference")
    wrong = difference.count()
    print(f"fold {table}: rows={spark.table('gold_table').count()} changes={spark.table('fold_changes').count()} "
          f"differences={wrong}", flush=True)
    if wrong:
        difference.show(20, truncate=False)
    return wrong


def main(pairs: list[str]) -> None:
    if not pairs or any("=" not in pair for pair in pairs):
        sys.exit("usage: fold.py FOLDER=TABLE ...")
    spark = SparkSession.builder.appName("medallion fold").getOrCreate()
    spark.sparkContext.setLogLevel("WARN")
    try:
        wrong = sum(fold(spark, *pair.split("=", 1)) for pair in pairs)
    finally:
        spark.stop()
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main(sys.argv[1:])
