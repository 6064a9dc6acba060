"""Skips what needs OpenVINO GenAI where it is not installed."""

from __future__ import annotations

import pytest

pytest.importorskip("openvino_genai", reason="the extra 'openvino' is not installed")
