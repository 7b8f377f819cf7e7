"""Does it work? What checkpointing costs and saves: measured, advised, simulated."""
