"""Training: a Llama, its packed data, its schedule, one loop, and checkpoints that resume to the bit."""

import os

# Else MKL sums in another order where memory is aligned otherwise, as that of torch's second thread is on AMD's
# processors: what a row comes to would depend on where it lies in its batch. Read when MKL is first called.
os.environ.setdefault("MKL_CBWR", "AUTO")
