"""`python -m operate`: the `meshup` command."""

from operate.cli import app

if __name__ == "__main__":
    app(prog_name="meshup")
