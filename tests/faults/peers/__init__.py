"""The same damage done to checkpoints of other tools: what they let through."""
