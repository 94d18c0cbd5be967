"""Access to the API server of a kubeconfig. Both halves of meshup import it; it imports neither."""
