"""Facts about other projects' charts, of one version each, that tests compare meshup with: names, types, limits."""
