"""Values to bytes and back: manifests, commit records, envelopes, names. No I/O here."""
