"""How a kubeconfig's user reaches an API server. Both halves of meshup use it; it imports neither."""
