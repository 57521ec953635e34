"""What a process loads: an SDK costs up to a second and 50 MB, and few processes need one."""

import subprocess
import sys

import pytest

from tests.running_gateway import PROJECT

LOADED = "import sys; print(sorted({'openai', 'anthropic'} & sys.modules.keys()))"


@pytest.mark.parametrize(
    "process",
    [
        "import gateway_project.asgi",
        "from gateway_project.celery import app; app.loader.import_default_modules()",
    ],
)
def test_no_sdk_is_loaded_before_a_provider_needs_it(process, tmp_path):
    loaded = subprocess.run(
        [sys.executable, "-c", f"{process}; {LOADED}"],
        cwd=PROJECT,
        env={"DATA_DIR": str(tmp_path), "DJANGO_SETTINGS_MODULE": "gateway_project.settings"},
        check=True,
        capture_output=True,
        text=True,
    )
    assert loaded.stdout == "[]\n"
