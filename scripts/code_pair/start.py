"""A drafter that begins where its target is: in the main directions of the target's embeddings.

Saves most of the steps in which a fresh head only learns which tokens are alike.
"""

import torch
from torch import nn
from transformers import Gemma4AssistantForCausalLM, Gemma4ForConditionalGeneration


def _like(values: torch.Tensor, parameter: nn.Parameter) -> torch.Tensor:
    """The values, as large on average as the parameter's."""
    return values * (parameter.std() / values.std())


@torch.no_grad()
def start_from_target(
    drafter: Gemma4AssistantForCausalLM, target: Gemma4ForConditionalGeneration
) -> None:
    """Fill embedding (and so the tied head) and both projections; H target width, h drafter width."""
    table = target.model.language_model.embed_tokens.weight  # [V, H]
    width = drafter.lm_head.weight.shape[1]
    _, _, directions = torch.linalg.svd(table - table.mean(dim=0), full_matrices=False)
    main = directions[:width]  # [h, H]
    for parameter, values in (
        (drafter.lm_head.weight, table @ main.T),
        (drafter.pre_projection.weight, torch.cat([main, main], dim=1)),
        (drafter.post_projection.weight, main.T),
    ):
        parameter.copy_(_like(values, parameter))
