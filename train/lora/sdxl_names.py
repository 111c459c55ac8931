"""SDXL's U-Net as its authors name its weights (Stability AI's generative-models), which is how
single files of checkpoints, kohya's LoRAs and ComfyUI have them."""

import re

_PER_LEVEL = 3  # blocks of a level as the authors number them: two layers and one that resizes
_WHOLE = (
    ("time_embedding.linear_1.", "time_embed.0."),
    ("time_embedding.linear_2.", "time_embed.2."),
    ("add_embedding.linear_1.", "label_emb.0.0."),
    ("add_embedding.linear_2.", "label_emb.0.2."),
    ("conv_in.", "input_blocks.0.0."),
    ("conv_norm_out.", "out.0."),
    ("conv_out.", "out.2."),
    ("mid_block.resnets.0.", "middle_block.0."),
    ("mid_block.attentions.0.", "middle_block.1."),
    ("mid_block.resnets.1.", "middle_block.2."),
)
_IN_RESNETS = (
    (".norm1.", ".in_layers.0."),
    (".conv1.", ".in_layers.2."),
    (".time_emb_proj.", ".emb_layers.1."),
    (".norm2.", ".out_layers.0."),
    (".conv2.", ".out_layers.3."),
    (".conv_shortcut.", ".skip_connection."),
)
_BLOCK = re.compile(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)")


def authors_name(name: str) -> str:
    """The name of a weight, or of a module that has such a path, from diffusers' name of it."""
    is_resnet = ".resnets." in name
    for ours, theirs in _WHOLE:
        if name.startswith(ours):
            name = theirs + name[len(ours) :]
    found = _BLOCK.match(name)
    if found:
        level, layer = int(found[2]), int(found[4])
        rest = name[found.end() :]
        inside = {"resnets": ".0", "attentions": ".1"}.get(found[3], "")
        if found[3] == "downsamplers":
            layer, rest = _PER_LEVEL - 1, rest.replace(".conv.", ".0.op.", 1)
        elif found[3] == "upsamplers":  # behind the last resnet and, where there is one, attention
            layer, inside = _PER_LEVEL - 1, ".2"
        first = _PER_LEVEL * level + layer + (found[1] == "down")
        side = "input" if found[1] == "down" else "output"
        name = f"{side}_blocks.{first}{inside}{rest}"
    if is_resnet:
        for ours, theirs in _IN_RESNETS:
            name = name.replace(ours, theirs)
    return name
