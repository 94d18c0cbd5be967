"""What people and pipelines run around `pulumi up`: the `meshup` command."""
