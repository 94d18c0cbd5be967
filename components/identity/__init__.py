"""Names that the states of stacks hold; the code is in components/meshes/linkerd/identity."""
