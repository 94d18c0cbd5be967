"""The service meshes: a folder each."""
