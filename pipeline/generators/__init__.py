"""Floor 3: VAE, GAN, flow matching; training and sampling."""

import os

# Read once, when torch loads its OpenMP: threads that wait by spinning halve the speed of a machine that is shared.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
