"""Block lists: from an answer to what sensors, firewalls and clouds load."""
