"""The command's entry point: sub-commands and how their errors look."""

from __future__ import annotations

import sys

import cyclopts

app = cyclopts.App(
    name="openflextok",
    help="Images to 1..N ordered tokens, back from any prefix, and new images from classes or captions.",
    version=lambda: __import__("importlib.metadata").metadata.version("openflextok"),
)
app.command(
    "openflextok.cli.reconstruct:demo",
    name="demo",
    help="Rebuild photos from 1, 2, 4, ... tokens in one labelled picture (offline).",
)
app.command("openflextok.cli.tokens:encode", name="encode", help="Images to a token file.")
app.command("openflextok.cli.tokens:decode", name="decode", help="A token file back to images, from any length.")
app.command("openflextok.cli.tokenize:tokenize", name="tokenize", help="A whole data set to shards of tokens.")
app.command("openflextok.cli.reconstruct:reconstruct", name="reconstruct", help="Encode and decode images.")
app.command("openflextok.cli.generate:generate", name="generate", help="New images from classes or captions.")
app.command("openflextok.cli.evaluate:app", name="evaluate", help="Measure tokenizers and generators.")
app.command("openflextok.cli.train:train", name="train", help="Train a recipe, or go on with it.")
app.command("openflextok.cli.convert:convert", name="convert", help="A checkpoint to or from the official format.")
app.command("openflextok.cli.info:info", name="info", help="What a checkpoint is.")
app.command("openflextok.cli.report:report", name="report", help="Results as one HTML page.")
app.command("openflextok.cli.data:app", name="data", help="Check and fetch training images.")


def _expected() -> tuple[type[Exception], ...]:
    from safetensors import SafetensorError

    return ValueError, OSError, ImportError, RuntimeError, SafetensorError


def main() -> None:
    """Run the command; expected errors become one line on stderr and exit code 2."""
    from openflextok.memory import keep_freed_memory

    keep_freed_memory()
    try:
        app(sys.argv[1:])
    except _expected() as error:
        import os

        if os.environ.get("OFT_DEBUG"):
            raise
        print(f"openflextok: {error}", file=sys.stderr)
        sys.exit(2)
