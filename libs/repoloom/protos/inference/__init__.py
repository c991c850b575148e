"""Generated from proto/ by `make proto` with grpcio-tools 1.81.1."""
