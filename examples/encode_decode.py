"""A photo to ordered tokens, and back from fewer and fewer of them, as one PNG.

python examples/encode_decode.py encode_decode.png
python examples/encode_decode.py apple.png --photo apple.jpg --steps 25
"""

from pathlib import Path

import cyclopts
from PIL import Image

import openflextok as oft
from openflextok.evaluate.pictures import picture_grid

PHOTO = Path(oft.__file__).parent / "photos" / "apple.jpg"


def main(out: Path, *, photo: Path = PHOTO, steps: int = 10, seed: int = 0) -> None:
    """Write OUT: the photo, then what 1, 4, 16, ... tokens give back."""
    tokenizer = oft.load()  # the embedded checkpoint; a folder or a Hub id works too
    image = Image.open(photo)
    tokens = tokenizer.encode([image])  # any prefix of tokens.ids is a description of the photo
    print("ids, coarse to fine:", tokens.ids[0, :8].tolist(), "...")

    columns = [("original", oft.to_pil(tokenizer.to_images([image])))]
    length = 1
    while length <= tokenizer.num_tokens:
        rebuilt = tokenizer.decode(tokens.truncate(length), steps=steps, seed=seed)
        columns.append((f"{length} tokens\n{tokenizer.bytes_per_image(length)} bytes", oft.to_pil(rebuilt)))
        length *= 4
    picture_grid(columns).save(out)


if __name__ == "__main__":
    cyclopts.run(main)
