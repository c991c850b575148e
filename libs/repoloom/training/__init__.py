"""Training: a Llama, its packed data, its schedule, one loop, and checkpoints that resume to the bit."""
