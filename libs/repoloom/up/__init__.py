"""The whole distributed form on one machine: Redis, an S3 server, the services and workers, started and kept alive."""
