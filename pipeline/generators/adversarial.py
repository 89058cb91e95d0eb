"""The two players' losses of R3GAN (Huang et al. 2024): relativistic pairing, with penalties R1 and R2."""

from torch import Tensor, autograd, nn
from torch.nn import functional


def critic_loss(critic: nn.Module, real: Tensor, fake: Tensor, labels: Tensor, gamma: float) -> Tensor:
    """Real above fake of the same class, pair by pair, and gamma / 2 times the squared slopes at both. Scalar.

    Without the penalties the relativistic game need not converge; with them it does, and mode dropping is rare.
    """
    real, fake = real.detach().requires_grad_(), fake.detach().requires_grad_()
    on_real, on_fake = critic(real, labels), critic(fake, labels)
    slopes = autograd.grad((on_real + on_fake).sum(), [real, fake], create_graph=True)
    penalty = sum(((slope**2).flatten(1).sum(dim=1).mean() for slope in slopes), real.new_zeros(()))
    return functional.softplus(on_fake - on_real).mean() + gamma / 2 * penalty


def maker_loss(critic: nn.Module, real: Tensor, fake: Tensor, labels: Tensor) -> Tensor:
    """The same game from the other side: fake above real. Scalar."""
    return functional.softplus(critic(real, labels) - critic(fake, labels)).mean()
