"""Parts answer scikit-learn's questions about their parameters, and refuse bad ones by name."""

import re

import numpy as np
import pytest
from sklearn.base import clone

from skscore._params import Part, check_choice, check_count, check_in_range, check_positive
from skscore.losses import DenoisingScoreMatching
from skscore.noise import GaussianNoise


class Wheel(Part):
    def __init__(self, radius=1.0, spokes=8):
        self.radius = radius
        self.spokes = spokes


class Cart(Part):
    def __init__(self, wheel, colour="red"):
        self.wheel = wheel
        self.colour = colour


class Stone(Part):
    pass


def test_get_params_are_the_arguments_of_the_constructor():
    assert Wheel(2.0).get_params() == {"radius": 2.0, "spokes": 8}
    assert Stone().get_params() == {}


def test_get_params_descends_into_parts_only_when_deep():
    wheel = Wheel(2.0)
    cart = Cart(wheel)
    assert cart.get_params(deep=False) == {"wheel": wheel, "colour": "red"}
    assert cart.get_params() == {
        "wheel": wheel,
        "colour": "red",
        "wheel__radius": 2.0,
        "wheel__spokes": 8,
    }


def test_get_params_names_parameters_two_levels_down():
    assert Cart(Cart(Wheel(3.0))).get_params()["wheel__wheel__radius"] == 3.0


def test_set_params_sets_own_and_nested_names_and_returns_the_part():
    cart = Cart(Wheel())
    assert cart.set_params(colour="blue", wheel__radius=5.0) is cart
    assert (cart.colour, cart.wheel.radius, cart.wheel.spokes) == ("blue", 5.0, 8)


def test_set_params_of_what_get_params_gave_changes_nothing():
    cart = Cart(Wheel(2.0, 3), "blue")
    assert repr(clone(cart).set_params(**cart.get_params())) == repr(cart)


def test_set_params_reaches_the_new_part_when_both_are_given():
    old, new = Wheel(1.0), Wheel(2.0)
    cart = Cart(old).set_params(wheel=new, wheel__radius=7.0)
    assert cart.wheel is new
    assert (old.radius, new.radius) == (1.0, 7.0)


@pytest.mark.parametrize(
    ("part", "name", "message"),
    [
        (Wheel(), "size", "Wheel has no parameter 'size'. Its parameters are: radius, spokes."),
        (Cart(Wheel()), "wheel__size", "Wheel has no parameter 'size'"),
        (Stone(), "size", "Stone has no parameter 'size'. Its parameters are: none."),
    ],
)
def test_set_params_names_the_owner_and_the_legal_names(part, name, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        part.set_params(**{name: 1})


def test_clone_copies_nested_parts():
    cart = Cart(Wheel(2.0), "blue")
    copy = clone(cart)
    assert repr(copy) == repr(cart)
    assert copy is not cart
    assert copy.wheel is not cart.wheel


def test_repr_evaluates_to_an_equal_part():
    cart = Cart(Wheel(2.0), "blue")
    assert repr(cart) == "Cart(wheel=Wheel(radius=2.0, spokes=8), colour='blue')"
    assert eval(repr(cart)).get_params(deep=False)["wheel"].radius == 2.0


@pytest.mark.parametrize("value", [1e-300, 1, 2.5, np.float32(0.5), np.int64(3), 1e300])
def test_check_positive_takes_positive_finite_numbers(value):
    check_positive(Wheel(), "radius", value)


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), -float("inf"), "1", None])
def test_check_positive_says_what_is_allowed_and_what_was_given(value):
    message = (
        "The 'radius' parameter of Wheel must be a number in the range (0.0, inf). "
        f"Got {value!r} instead."
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        check_positive(Wheel(), "radius", value)


@pytest.mark.parametrize("value", [1, 2, 10**9])
def test_check_count_takes_whole_numbers_from_one(value):
    check_count(Wheel(), "spokes", value)


@pytest.mark.parametrize("value", [0, -1, 1.0, 2.5, True, "2", None, float("nan")])
def test_check_count_says_what_is_allowed_and_what_was_given(value):
    message = (
        "The 'spokes' parameter of Wheel must be an int in the range [1, inf). "
        f"Got {value!r} instead."
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        check_count(Wheel(), "spokes", value)


@pytest.mark.parametrize("choices", [("red", "blue", None), {"red": 1, "blue": 2, None: 3}])
def test_check_choice_lists_the_legal_names(choices):
    for choice in choices:
        check_choice(Cart(None), "colour", choice, choices)
    message = "parameter of Cart must be one of: 'red', 'blue', None. Got 'green' instead."
    with pytest.raises(ValueError, match=re.escape(message)):
        check_choice(Cart(None), "colour", "green", choices)


def test_numpy_integers_are_counts():
    check_count(GaussianNoise(), "n", np.int64(2))


@pytest.mark.parametrize("value", [True, np.array([0.1, 0.2]), "0.1", None])
def test_only_a_number_is_positive(value):
    with pytest.raises(ValueError, match="'sigma' parameter of GaussianNoise must be a number"):
        check_positive(GaussianNoise(), "sigma", value)


def test_an_unhashable_choice_gets_the_same_message():
    with pytest.raises(ValueError, match="must be one of: 'a', 'b'. Got"):
        check_choice(GaussianNoise(), "kind", ["a"], {"a": 1, "b": 2})


def test_a_part_and_its_parameter_set_together_mean_the_new_part():
    old, new = GaussianNoise(0.1), GaussianNoise(0.2)
    DenoisingScoreMatching(old).set_params(noise__sigma=0.5, noise=new)
    assert (old.sigma, new.sigma) == (0.1, 0.5)


def test_a_number_has_no_parameters():
    with pytest.raises(ValueError, match="'sigma' of GaussianNoise has no parameters: 'sigma__x'"):
        GaussianNoise().set_params(sigma__x=1)


INF = float("inf")


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [(0.0, 0.0, 1.0), (1, 0.0, 1.0), (np.float32(0.5), 0.0, 1.0), (1e300, 0.0, INF), (-2, -3, -1)],
)
def test_check_in_range_takes_finite_numbers_from_end_to_end(value, low, high):
    check_in_range(Wheel(), "radius", value, low, high)


@pytest.mark.parametrize("value", [-0.1, 1.1, INF, -INF, float("nan"), True, "1", None])
def test_check_in_range_says_what_is_allowed_and_what_was_given(value):
    message = (
        "The 'radius' parameter of Wheel must be a number in the range [0.0, 1.0]. "
        f"Got {value!r} instead."
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        check_in_range(Wheel(), "radius", value, 0.0, 1.0)


@pytest.mark.parametrize("value", [-0.1, INF, float("nan")])
def test_check_in_range_without_an_upper_end_is_open_at_infinity(value):
    message = f"must be a number in the range [0.0, inf). Got {value!r} instead."
    with pytest.raises(ValueError, match=re.escape(message)):
        check_in_range(Wheel(), "radius", value, 0.0, INF)


@pytest.mark.parametrize(
    ("check", "value", "message"),
    [
        (check_count, 0, "n must be an int in the range [1, inf). Got 0 instead."),
        (check_positive, -1, "n must be a number in the range (0.0, inf). Got -1 instead."),
    ],
)
def test_arguments_that_no_part_owns_are_named_alone(check, value, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        check(None, "n", value)


def test_checked_values_come_back():
    count = check_count(None, "n", np.int64(2))
    assert (count, type(count)) == (2, int)
    assert check_positive(None, "h", 0.5) == check_in_range(None, "h", 0.5, 0.0, 1.0) == 0.5
