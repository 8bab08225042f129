"""Composition with scikit-learn: pipelines that keep densities right, and transformers."""

from skscore._changes.algebra import Change, Columnwise, Linear
from skscore.compose._bounded import BoundedTransformer
from skscore.compose._flow import FlowTransformer
from skscore.compose._make import make_density_pipeline
from skscore.compose._pipeline import DensityPipeline
from skscore.compose._scikit import change_of_variables

__all__ = [
    "BoundedTransformer",
    "Change",
    "Columnwise",
    "DensityPipeline",
    "FlowTransformer",
    "Linear",
    "change_of_variables",
    "make_density_pipeline",
]
