"""Pages of HTML that stand alone: no script, no font, no other file."""
