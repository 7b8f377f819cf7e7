"""Pictures in files, drawn by matplotlib, which is imported only when one is asked for."""
