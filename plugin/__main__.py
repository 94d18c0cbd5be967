"""Serve the components: what Pulumi starts in the folder of a plugin."""

from meshup.provider.host import main

main()
