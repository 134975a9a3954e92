"""The three Spark jobs: bronze, silver, gold. For spark-submit; the logic is in sql/.

Each reads what is due, computes in Spark, appends to staging and merges in one transaction of PostgreSQL. Dying at any point
leaves staging rows that the next run empties, and nothing else.
"""

import os
import re
import sys

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from database import Run, sql

# Files read and merged at a time: bounds what one transaction holds.
BATCH = int(os.environ.get("MEDALLION_BATCH_FILES", "1000"))


def jdbc_options() -> dict[str, str]:
    host, port = os.environ.get("PGHOST", "localhost"), os.environ.get("PGPORT", "5432")
    options = {
        # Text is sent without a type, so that it fits uuid columns.
        "url": f"jdbc:postgresql://{host}:{port}/{os.environ['PGDATABASE']}?stringtype=unspecified&ApplicationName=medallion",
        "driver": "org.postgresql.Driver",
        "user": os.environ["PGUSER"],
    }
    if "PGPASSWORD" in os.environ:
        options["password"] = os.environ["PGPASSWORD"]
    return options


def statements(text: str) -> list[str]:
    return [s for s in re.split(r";\s*(?:\n|$)", text) if re.sub(r"--.*", "", s).strip()]


def read(spark: SparkSession, query: str) -> DataFrame:
    return spark.read.format("jdbc").options(**jdbc_options()).option("query", query).option("fetchsize", "10000").load()


def transform(spark: SparkSession, name: str) -> None:
    for statement in statements(sql("spark", name)):
        spark.sql(statement)


def stage(spark: SparkSession, run: Run, view: str, table: str) -> None:
    """Appends a view to a staging table. Few partitions: each is a connection."""
    rows = spark.table(view).withColumn("run", f.lit(run.id))
    (rows.coalesce(4).write.format("jdbc").options(**jdbc_options()).option("dbtable", f"medallion.{table}")
        .option("batchsize", "5000").mode("append").save())


def listing(spark: SparkSession, landing: str) -> dict[str, tuple[int, int]]:
    """Names with size and time of change (ms), hidden ones left out. Not by Spark's own listing, which leaves out empty files."""
    found = {}
    if "://" not in landing:
        for folder, folders, names in os.walk(os.path.realpath(landing)):
            folders[:] = [name for name in folders if name[0] not in "._"]
            for name in names:
                path = os.path.join(folder, name)
                found["file:" + path] = (os.stat(path).st_size, os.stat(path).st_mtime_ns // 1_000_000)
    else:
        root = spark._jvm.org.apache.hadoop.fs.Path(landing)
        files = root.getFileSystem(spark._jsc.hadoopConfiguration()).listFiles(root, True)
        while files.hasNext():
            status = files.next()
            found[status.getPath().toString()] = (status.getLen(), status.getModificationTime())
    return {path: state for path, state in found.items()
            if re.search(r"\.jsonl?$", path) and os.path.basename(path)[0] not in "._"}


def bronze(spark: SparkSession, run: Run) -> None:
    listed = listing(spark, os.environ["MEDALLION_LANDING"])
    known = {row["path"]: (row["bytes"], int(row["modified_at"].timestamp() * 1000 + 0.5))
             for row in run.db.execute("select path, bytes, modified_at from medallion.sighting")}
    fresh = sorted((path for path in listed if known.get(path) != listed[path]), key=lambda path: (listed[path][1], path))
    run.add({"files_listed": len(listed), "files_seen": 0})
    for start in range(0, len(fresh), BATCH):
        run.clear("stage_file", "stage_bronze", "stage_bronze_reject")
        content(spark, {path: listed[path] for path in fresh[start:start + BATCH]}).createOrReplaceTempView("content")
        read(spark, "select sha256 from medallion.file").createOrReplaceTempView("known")
        transform(spark, "bronze")
        for view in ("stage_file", "stage_bronze", "stage_bronze_reject"):
            stage(spark, run, view, view)
        unread(run, fresh[start:start + BATCH])
        run.add(run.script("bronze"))
        spark.catalog.clearCache()
    run.clear("stage_file", "stage_bronze", "stage_bronze_reject")


def content(spark: SparkSession, files: dict[str, tuple[int, int]]) -> DataFrame:
    """The files' bytes, and a row for each empty file, which Spark's reader passes over."""
    empty = [(path, changed) for path, (size, changed) in files.items() if size == 0]
    rows = (spark.createDataFrame(empty, "path string, changed long")
            .selectExpr("path", "timestamp_millis(changed) as modificationTime", "0L as length", "X'' as content"))
    full = [escaped(path) for path, (size, _) in files.items() if size > 0]
    return rows.unionByName(spark.read.format("binaryFile").load(full)) if full else rows


def escaped(path: str) -> str:
    """A path that Spark does not take for a pattern."""
    return re.sub(r"([\[\]{}*?\\])", r"\\\1", path)


def unread(run: Run, names: list[str]) -> None:
    """Names that were listed and could not be read: quarantined by name, tried again by the next run."""
    staged = {row["path"] for row in run.db.execute("select path from medallion.stage_file where run = %s", [run.id])}
    for name in set(names) - staged:
        run.db.execute("insert into medallion.stage_file (run, path, bytes, modified_at, kind, collected_at, entries, reason, head)"
                       " values (%s, %s, 0, now(), 'unknown', now(), 0, 'cannot be read, or gone', '')", [run.id, name])


def silver(spark: SparkSession, run: Run) -> None:
    run.clear("stage_day", "stage_silver", "stage_silver_reject")
    if run.script("silver_due")["days"]:
        read(spark, sql("postgres", "bronze_of_days").replace("{run}", run.id)).createOrReplaceTempView("bronze")
        transform(spark, "silver")
        stage(spark, run, "stage_silver", "stage_silver")
        stage(spark, run, "stage_silver_reject", "stage_silver_reject")
    run.add(run.script("silver"))
    run.clear("stage_day", "stage_silver", "stage_silver_reject")


def gold(spark: SparkSession, run: Run) -> None:
    run.clear("stage_day", "stage_gold")
    if run.script("gold_due")["days"]:
        read(spark, sql("postgres", "silver_of_days").replace("{run}", run.id)).createOrReplaceTempView("silver")
        transform(spark, "gold")
        stage(spark, run, "gold", "stage_gold")
    run.add(run.script("gold"))
    run.clear("stage_day", "stage_gold")


JOBS = {"bronze": bronze, "silver": silver, "gold": gold}


def main(names: list[str]) -> None:
    if not names or any(name not in JOBS for name in names):
        sys.exit("usage: job.py bronze|silver|gold ...")
    spark = SparkSession.builder.appName("medallion " + " ".join(names)).getOrCreate()
    spark.sparkContext.setLogLevel("WARN")
    try:
        for name in names:
            run = Run(name)
            JOBS[name](spark, run)
            run.finish()
    finally:
        spark.stop()


if __name__ == "__main__":
    main(sys.argv[1:])
