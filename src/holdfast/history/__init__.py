"""What a store knows of its runs: refs, logs, verification, retention."""
