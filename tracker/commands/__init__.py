"""Groups of the ``tracker`` command, a file each; `tracker.cli` puts them together."""
