"""A pipeline of a density without names for its steps."""

from __future__ import annotations

from typing import Any

from sklearn.pipeline import make_pipeline

from skscore.compose._pipeline import DensityPipeline


def make_density_pipeline(
    *steps: Any,
    memory: Any = None,
    transform_input: list[str] | None = None,
    verbose: bool = False,
) -> DensityPipeline:
    """A :class:`DensityPipeline` whose steps are named after their classes.

    Parameters
    ----------
    *steps : estimators
        Transformers, then a score or density estimator.
    memory, transform_input, verbose
        As for :class:`DensityPipeline`.

    Returns
    -------
    DensityPipeline

    Examples
    --------
    >>> from sklearn.neighbors import KernelDensity
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skscore import make_density_pipeline
    >>> list(make_density_pipeline(StandardScaler(), KernelDensity()).named_steps)
    ['standardscaler', 'kerneldensity']
    """
    return DensityPipeline(
        make_pipeline(*steps).steps,
        memory=memory,
        transform_input=transform_input,
        verbose=verbose,
    )
