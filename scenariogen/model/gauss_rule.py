"""Few nodes in the place of many: the Gauss rule of a discrete measure."""

import numpy as np


def gauss_rule(x: np.ndarray, w: np.ndarray, nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """The Gauss rule with at most ``nodes`` nodes of the discrete measure Σ w_i δ(x_i), by Lanczos' iteration with
    full reorthogonalisation (Golub & Meurant, *Matrices, moments and quadrature with applications*, 2010)."""
    from scipy.linalg import eigh_tridiagonal

    total, middle = w.sum(), float(w @ x / w.sum())
    spread = float(np.sqrt(w @ (x - middle) ** 2 / total))
    if spread < 1e-12:
        return np.array([middle]), np.array([total])
    y = (x - middle) / spread
    basis = [np.sqrt(w / total)]
    diagonal, off = [], []
    while True:
        image = y * basis[-1]
        diagonal.append(float(basis[-1] @ image))
        for _ in range(2):
            table = np.array(basis)
            image = image - table.T @ (table @ image)
        norm = float(np.linalg.norm(image))
        if len(basis) == min(nodes, len(x)) or norm < 1e-10:
            break
        off.append(norm)
        basis.append(image / norm)
    places, vectors = eigh_tridiagonal(np.array(diagonal), np.array(off))
    return middle + spread * places, total * vectors[0] ** 2
