"""The small objects of a store: marker, commits, part manifests, tags and pins."""
