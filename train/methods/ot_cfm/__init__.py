"""Flow matching between styles on stored latents, with an isotropic ConvNeXt."""
