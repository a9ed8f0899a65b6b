class StrataError(Exception):
    """A message to a user: names the file, key or item, says what is wrong and what to do."""
