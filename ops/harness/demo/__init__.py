"""The main job, to watch: Gold rows from PostgreSQL through Kafka into S3, with the agent killed on the way."""
