"""Floor 3: VAE, GAN, flow matching; training and sampling."""
