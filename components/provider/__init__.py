"""The Pulumi package: schema of the components for other languages, and the plugin that serves them."""
