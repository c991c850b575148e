"""gRPC: one way to start a server, one way to open a channel, and the stages served over streams."""
