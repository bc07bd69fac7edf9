"""The monitor: profiles tables in one pass, compares them with a baseline, says what has changed and whether
it matters. Files in, files out: nothing here knows of AWS, of containers or of the machine that runs it."""
