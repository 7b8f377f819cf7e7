"""Pure decisions: how a state is cut into chunks, and what a restore must read from where."""
