"""Training: a Llama, its packed data, its schedule, one loop, and checkpoints that resume to the bit."""

import os

# Threads that have done their share of an operation sleep until the next, and do not spin: where other processes want
# the cores too, spinning takes from the very threads that are waited for. OpenMP reads it when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
