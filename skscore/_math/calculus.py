"""Derivatives with respect to the rows of a batch, by automatic differentiation.

For a field ``s`` that acts on every row by itself, and the row's Jacobian
``J = grad_x s(x)`` of shape (d, d):

* :func:`gradient` is ``grad_x E(x)`` of an energy with one value per row;
* :func:`quadratic_forms` are ``v' J v`` for given directions ``v``;
* :func:`divergence` is their sum over a set of directions; over the unit
  vectors this is ``tr J``, over the columns of ``L`` it is ``tr(L L' J)``;
* :func:`jacobian` is J itself.

Only products ``J' v`` are ever formed (``v' J v = (J' v)' v``), one backward
pass each, on one graph.  All of them can be differentiated again with respect
to the parameters of a network while autograd records, and hold no graph
otherwise.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Field = Callable[[Tensor], Tensor]


def _tracked(x: Tensor) -> Tensor:
    """`x` itself inside a graph, else a leaf of its own (never the caller's tensor)."""
    return x if x.requires_grad else x.detach().requires_grad_()


def _vector_jacobian(values: Tensor, x: Tensor, v: Tensor, *, record: bool, keep: bool) -> Tensor:
    """``J' v`` for every row; zero where the values do not depend on x."""
    if not values.requires_grad:
        return torch.zeros_like(x)
    (product,) = torch.autograd.grad(
        values, x, v, create_graph=record, retain_graph=record or keep, allow_unused=True
    )
    return torch.zeros_like(x) if product is None else product


def gradient(energy: Field, x: Tensor) -> Tensor:
    """Gradient of an energy: (n, d) rows in, values (n,) of `energy`, (n, d) out."""
    record = torch.is_grad_enabled()
    with torch.enable_grad():
        x = _tracked(x)
        values = energy(x)
        return _vector_jacobian(values, x, torch.ones_like(values), record=record, keep=False)


def quadratic_forms(field: Field, x: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """``s(x)`` and ``v' J v`` for each direction.

    Parameters
    ----------
    field : callable
        (n, d) to (n, d), every row by itself.
    x : Tensor of shape (n, d)
    directions : Tensor of shape (m, d) or (m, n, d)
        The same for all rows, or a set for each row.

    Returns
    -------
    values : Tensor of shape (n, d)
    forms : Tensor of shape (m, n)
    """
    record = torch.is_grad_enabled()
    last = len(directions) - 1
    with torch.enable_grad():
        x = _tracked(x)
        values = field(x)
        forms = []
        for k, v in enumerate(directions):
            v = v.expand_as(x)
            product = _vector_jacobian(values, x, v, record=record, keep=k < last)
            forms.append((product * v).sum(1))
    stacked = torch.stack(forms)
    return (values, stacked) if record else (values.detach(), stacked.detach())


def jacobian(field: Field, x: Tensor) -> Tensor:
    """``J = grad s(x)`` of every row, ``J_ij = ds_i / dx_j``: (n, d) rows in, (n, d, d) out."""
    with torch.enable_grad():
        x = _tracked(x)
        values = field(x)
        units = torch.eye(values.shape[1], dtype=x.dtype, device=x.device)
        rows = [
            _vector_jacobian(values, x, e.expand_as(values), record=False, keep=True) for e in units
        ]
    return torch.stack(rows, dim=1)


def divergence(field: Field, x: Tensor, directions: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """``s(x)`` of shape (n, d) and ``sum_k v_k' J v_k`` of shape (n,).

    `directions` has shape (m, d); None takes the unit vectors, and the sum is
    the exact divergence ``tr J``.
    """
    if directions is None:
        directions = torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    values, forms = quadratic_forms(field, x, directions)
    return values, forms.sum(0)


def value_and_slope(fn: Field, x: Tensor) -> tuple[Tensor, Tensor]:
    """Values and derivatives of an elementwise function, both of the shape of x."""
    record = torch.is_grad_enabled()
    with torch.enable_grad():
        x = _tracked(x)
        values = fn(x)
        slope = _vector_jacobian(values, x, torch.ones_like(values), record=record, keep=False)
    return (values, slope) if record else (values.detach(), slope)
