"""Templates that people have."""

from __future__ import annotations

import pytest

from tests.templates.public import WHEEL, download


@pytest.fixture(scope="session")
def public_templates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Google's and Unsloth's, by name."""
    templates = download(tmp_path_factory.mktemp("unsloth"))
    if not templates:
        pytest.skip(f"{WHEEL} cannot be downloaded, so no public template can be tried")
    return templates
