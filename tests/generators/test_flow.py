"""The flow's integration: Euler and midpoint rule reach the same end, the midpoint rule in fewer steps."""

import pytest
import torch

from pipeline.generators.flow_matching import integrate, vary
from pipeline.generators.layers import ConditionalMLP


def network(velocity: bool = False) -> ConditionalMLP:
    """A small network whose last layer, zero at the start of training, says something."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = ConditionalMLP(6, 16, 2, 3)
        for parameter in made.parameters():
            torch.nn.init.normal_(parameter, std=0.4)
        made.embed.frequencies.mul_(0.002)  # untrained answers to fast sinusoids would be noise in time
    made.predicts_velocity = velocity
    return made.requires_grad_(False)


@pytest.mark.parametrize("velocity", [False, True])
def test_the_midpoint_rule_comes_nearer_in_as_many_steps(velocity: bool) -> None:
    noise, labels = torch.randn(32, 6, generator=torch.Generator().manual_seed(1)), torch.arange(32) % 3
    exact = integrate(network(velocity), noise, labels, 1.5, 2_000)
    assert torch.allclose(integrate(network(velocity), noise, labels, 1.5, 1_000, "midpoint"), exact, atol=0.05)
    euler, midpoint = (
        (integrate(network(velocity), noise, labels, 1.5, 16, solver) - exact).abs().mean()
        for solver in ("euler", "midpoint")
    )
    assert midpoint < euler


def test_guidance_works_in_the_middle_of_the_way_alone() -> None:
    noise, labels = torch.randn(8, 6, generator=torch.Generator().manual_seed(1)), torch.arange(8) % 3

    def ends(guidance: float, *guided: float) -> torch.Tensor:
        return integrate(network(), noise, labels, guidance, 10, guided=guided)

    assert torch.equal(ends(3.0, 0.45, 0.5), ends(1.0, 0.0, 1.0))  # no step begins there
    assert torch.equal(ends(3.0, 0.0, 1.0), integrate(network(), noise, labels, 3.0, 10))
    always, middle, never = ends(3.0, 0.0, 1.0), ends(3.0, 0.2, 0.7), ends(1.0, 0.2, 0.7)
    assert 0 < (middle - never).norm() < (always - never).norm()


@pytest.mark.parametrize("velocity", [False, True])
def test_a_variation_of_full_strength_is_an_image_from_noise_alone(velocity: bool) -> None:
    noise, labels = torch.randn(8, 6, generator=torch.Generator().manual_seed(1)), torch.zeros(8, dtype=torch.int64)
    data = torch.ones(8, 6)
    assert torch.allclose(
        vary(network(velocity), data, noise, labels, 1.0, 1.0, 12),
        integrate(network(velocity), noise, labels, 1.0, 12),
    )
    weak = vary(network(velocity), data, noise, labels, 0.05, 1.0, 12)
    strong = vary(network(velocity), data, noise, labels, 0.9, 1.0, 12)
    assert weak.std(dim=0).mean() < strong.std(dim=0).mean()
