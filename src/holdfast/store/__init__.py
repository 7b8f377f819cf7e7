"""Places that hold objects under opaque keys, all behind one contract."""
