"""The pages: runs, checkpoints, differences and costs of a store, in a browser."""
