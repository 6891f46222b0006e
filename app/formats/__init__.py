"""Callback formats, one file each: render events as requests and interpret the answers."""
