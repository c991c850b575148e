"""The inference server: one model over HTTP, as OpenAI's completions, and over gRPC."""
