"""Says what PostgreSQL committed, what Kafka shows and what S3 holds, and whether the three are the same.

It uses nothing of sluice: a second slot with `test_decoding` is the truth, Kafka is read with `read_committed`, the
borders of Kafka's transactions come from the broker's own log segments, and objects are read back through S3.

    source.py   what was committed, in commit order           (test_decoding)
    topics.py   the records that a read_committed reader gets  (Kafka consumer)
    borders.py  which Kafka transaction a record was in        (broker's files)
    objects.py  the objects of a bucket or folder, decoded     (S3, file://)
    values.py   whether a JSON value is PostgreSQL's value
    checks.py   the comparison itself: pure, tested on damaged inputs
    store_checks.py, hour_checks.py   that of the objects, and of the manifests that seal hours
    verdict.py  its result
"""
