"""How sure a classifier is of each image, and how many classes it sees: the score of T. Salimans et al., arXiv 1606.03498.

    probabilities (M,K) -> exp(mean over images of KL(p of the image | mean p))    1 to K, more is better

Only with the Inception network of that paper is it the Inception score. It knows nothing of the reference: real images
at the same size say what is much.

Shapes: M images, K classes.
"""

from __future__ import annotations

import torch
from torch import Tensor


def class_score(probabilities_MK: Tensor) -> float:
    """The score of images by the probabilities of their classes; float64."""
    p_MK = probabilities_MK.double()
    mean_K = p_MK.mean(0)
    divergence_MK = torch.xlogy(p_MK, p_MK) - torch.xlogy(p_MK, mean_K)
    return divergence_MK.sum(1).mean().exp().item()
