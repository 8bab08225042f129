"""Checks that hold a density or score estimator to its promises."""

from skscore.testing._runner import check_density_estimator, density_estimator_checks

__all__ = ["check_density_estimator", "density_estimator_checks"]
