"""A device that is not there is said in one line."""

from __future__ import annotations

import pytest

from meetscribe.engines.device import check_name, check_present
from meetscribe.errors import ConfigError


@pytest.mark.parametrize("device", ["gpu", "cuda:", "CPU", None])
def test_what_is_no_device(device: str) -> None:
    with pytest.raises(ConfigError, match="unknown device"):
        check_name(device)


def test_a_device_that_no_machine_has() -> None:
    check_present("cpu")
    check_present("auto")
    with pytest.raises(ConfigError, match="cuda:999") as caught:
        check_present("cuda:999")
    assert "doctor" in caught.value.hint
