"""The drafter's centroid head, and balanced k-means: clusters of exactly equal size.

Knows rows of numbers; does not know tokens or training.
"""

import torch
from torch import Tensor
from torch.nn import functional
from transformers import Gemma4AssistantForCausalLM
from transformers.models.gemma4_assistant.modeling_gemma4_assistant import (
    Gemma4AssistantMaskedEmbedder,
)

_ROUNDS = 12


def _assign(similarity: Tensor, size: int) -> Tensor:
    """Members [clusters, size] of a greedy balanced assignment, best pairs first.

    Args:
        similarity: [points, clusters], larger is nearer.
        size: points per cluster; points = clusters * size.
    """
    points, clusters = similarity.shape
    members: list[list[int]] = [[] for _ in range(clusters)]
    placed = [False] * points
    for flat in similarity.flatten().argsort(descending=True, stable=True).tolist():
        point, cluster = divmod(flat, clusters)
        if not placed[point] and len(members[cluster]) < size:
            members[cluster].append(point)
            placed[point] = True
    return torch.tensor([sorted(group) for group in members])


def centroid_head(drafter: Gemma4AssistantForCausalLM) -> Gemma4AssistantMaskedEmbedder:
    """The head that scores only the tokens of the nearest clusters."""
    head = drafter.masked_embedding
    if head is None:
        raise ValueError("This drafter has a full head: use_ordered_embeddings is false.")
    return head


def balanced_clusters(rows: Tensor, clusters: int, seed: int) -> Tensor:
    """Token ids by cluster, int64 [clusters, rows / clusters].

    Spherical k-means on the normalised rows, every round with a balanced assignment.
    """
    size, rest = divmod(len(rows), clusters)
    if rest:
        raise ValueError(f"{len(rows)} rows cannot form {clusters} clusters of equal size.")
    unit = functional.normalize(rows.detach().float(), dim=1)
    generator = torch.Generator().manual_seed(seed)
    centres = unit[torch.randperm(len(unit), generator=generator)[:clusters]]
    members = _assign(unit @ centres.T, size)
    for _ in range(_ROUNDS):
        centres = functional.normalize(unit[members].mean(dim=1), dim=1)
        members = _assign(unit @ centres.T, size)
    return members
