"""The rotation from rows to noise, and the four forms of what a model says on the way."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from skscore._math import angles as canonical
from skscore._math.angles import field_of_score, noised

ANGLES = [1e-3, 0.02, 0.3, math.pi / 4, 1.2, math.pi / 2 - 1e-3]
# A form, the way to it from the field, the way back.
FORMS = {
    "denoiser": (canonical.denoiser, canonical.field_from_denoiser),
    "noise": (canonical.noise, canonical.field_from_noise),
    "score": (canonical.score, canonical.field_from_score),
}
each_form = pytest.mark.parametrize(("form", "field_from"), FORMS.values(), ids=FORMS)
angles = st.floats(1e-3, math.pi / 2 - 1e-3)
M, TAU = torch.tensor([1.0, -0.5]).double(), 0.6


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def angle(theta):
    return torch.full((1, 1), theta, dtype=torch.float64)


def per_row():
    return torch.tensor(ANGLES, dtype=torch.float64)[:, None]


def close(actual, expected, tolerance=1e-9):
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


@each_form
@given(theta=angles, seed=st.integers(0, 1000))
def test_every_form_leads_back_to_the_field_and_forth(form, field_from, theta, seed):
    y, values, theta = normal(4, 2, seed=seed), normal(4, 2, seed=seed + 1), angle(theta)
    close(field_from(form(values, y, theta), y, theta), values)
    close(form(field_from(values, y, theta), y, theta), values)


@each_form
def test_rows_have_angles_of_their_own(form, field_from):
    y, F, theta = normal(6, 2), normal(6, 2, seed=1), per_row()
    for convert in (form, field_from):
        alone = [convert(F[[k]], y[[k]], angle(t)) for k, t in enumerate(ANGLES)]
        close(convert(F, y, theta), torch.cat(alone), 1e-12)


def test_a_row_is_the_rotation_of_its_denoiser_and_its_noise():
    y, F, theta = normal(6, 2), normal(6, 2, seed=1), per_row()
    D, eps = canonical.denoiser(F, y, theta), canonical.noise(F, y, theta)
    rotated, velocity = noised(D, eps, theta)
    close(rotated, y)
    close(velocity, F)
    close(canonical.score(F, y, theta), -eps / theta.sin())  # Tweedie


def test_noised_leads_from_the_row_to_the_noise():
    x, eps = normal(4, 2), normal(4, 2, seed=1)
    for theta, y, velocity in ((0.0, x, eps), (math.pi / 2, eps, -x)):
        close(noised(x, eps, angle(theta))[0], y)
        close(noised(x, eps, angle(theta))[1], velocity)


def test_velocity_is_the_derivative_in_the_angle():
    x, eps, theta, h = normal(6, 2), normal(6, 2, seed=1), per_row(), 1e-5
    difference = noised(x, eps, theta + h)[0] - noised(x, eps, theta - h)[0]
    close(noised(x, eps, theta)[1], difference / (2 * h))


class Gaussian:
    """What is exact for ``x_0 ~ N(m, tau^2 I)``, where y has variance ``cos^2 tau^2 + sin^2``."""

    def __init__(self, y, theta):
        cos, sin = theta.cos(), theta.sin()
        e = (y - cos * M) / ((cos * TAU) ** 2 + sin**2)
        self.score, self.denoiser, self.noise = -e, M + cos * TAU**2 * e, sin * e
        self.field = cos * sin * (1 - TAU**2) * e - sin * M


@each_form
def test_every_form_is_exact_for_a_gaussian(form, field_from):
    y, theta = normal(6, 2), per_row()
    exact = Gaussian(y, theta)
    value = getattr(exact, form.__name__)
    close(form(exact.field, y, theta), value)
    close(field_from(value, y, theta), exact.field)


def test_the_exact_field_is_the_regression_of_the_velocity_on_the_row():
    # Two moments of pairs (y, v) of a design with exactly those of x_0 and eps.
    theta = angle(0.7)
    design = 2 * torch.cat([torch.eye(4), -torch.eye(4)]).double()  # covariance I
    y, v = noised(M + TAU * design[:, :2], design[:, 2:], theta)
    error = v - Gaussian(y, theta).field
    close(error.mean(0), torch.zeros(2).double())
    close(error.T @ y, torch.zeros(2, 2).double())


def level_score(x, sigma):
    return -(x - M) / (TAU**2 + sigma**2)


def test_field_of_a_score_is_exact_within_the_range_of_levels():
    y, theta = normal(6, 2), per_row()
    close(field_of_score(level_score, 1e-4, 1e4)(y, theta), Gaussian(y, theta).field)


@pytest.mark.parametrize("sigma_range", [(0.1, 3.0), (0.002, 80.0)])
def test_field_of_a_score_is_held_outside_the_range_of_levels(sigma_range):
    y, field = normal(6, 2), field_of_score(level_score, *sigma_range)
    for theta, sigma in zip((0.0, math.pi / 2), sigma_range, strict=True):
        end = angle(math.atan(sigma))
        close(field(y, angle(theta)), Gaussian(y, end).field)
        close(field(y, 0.5 * (angle(theta) + end)), Gaussian(y, end).field)


def test_the_score_is_asked_at_the_rows_and_levels_of_its_own_coordinates():
    x, sigma, seen = normal(6, 2), per_row().tan(), []
    field_of_score(lambda *asked: seen.extend(asked) or asked[0], 1e-4, 1e4)(
        x / (1 + sigma**2).sqrt(), sigma.atan()
    )
    close(seen[0], x)
    close(seen[1], sigma)


def test_standard_normal_rows_have_no_field():
    y, theta = normal(6, 2), per_row()
    field = field_of_score(lambda x, sigma: -x / (1 + sigma**2), 0.002, 80.0)
    close(field(y, theta), torch.zeros_like(y))
    close(canonical.score(torch.zeros_like(y), y, theta), -y)
