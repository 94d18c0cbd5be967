"""The Pulumi package: what the components look like from other languages, and the process that serves them."""
