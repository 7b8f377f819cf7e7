"""What differs between two checkpoints: pure comparison, and a reader that brings it the bytes."""
