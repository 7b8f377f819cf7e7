"""Keys and seals; and other people's files, looked into without running what is in them."""
