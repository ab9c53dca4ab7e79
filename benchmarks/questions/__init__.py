"""The questions by their names; one file each."""
