"""Makes the site of the documentation out of ``docs/`` and the code: ``python -m website``."""
