"""Few pictures of a style, learned by a text-to-image model: DreamBooth with LoRA."""
