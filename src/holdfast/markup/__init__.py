"""Pieces of HTML, for pages and for notebooks; all text is escaped where it becomes HTML."""
