"""Runs publication.sql on the connection of the PG* variables: the image of the jobs has no psql."""

from pathlib import Path

import psycopg

with psycopg.connect("") as db:
    db.execute(Path(__file__).with_name("publication.sql").read_text())
