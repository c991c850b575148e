"""The seven services: each a thin face of the library over gRPC."""
