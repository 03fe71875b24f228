"""Where files from outside come in: how refusals are worded, what may come, how large it may be."""
