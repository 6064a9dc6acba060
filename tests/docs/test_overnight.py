"""The loop of the overnight page does as the exit codes say."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PAGE = "docs/how-to/overnight.md"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no bash")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("codes", "tries", "end"), [("75 75 0", 3, 0), ("137 4", 2, 4), ("1", 1, 1), ("2", 1, 2), ("75 143", 2, 143)]
)
def test_the_loop_tries_again_only_where_that_may_help(read, tmp_path, codes, tries, end):
    (loop,) = [block for _, block in read(PAGE).blocks("bash") if "overnight.log" in block]
    script = tmp_path / "overnight.sh"
    script.write_text(loop, encoding="utf-8")
    (tmp_path / "codes").write_text("\n".join(codes.split()) + "\n", encoding="utf-8")
    for name, text in {
        "psyctl": '#!/bin/bash\necho "$@" >> asked\nexit "$(sed -n "$(wc -l < asked)p" codes)"\n',
        "sleep": '#!/bin/bash\necho "$@" >> slept\n',
    }.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        ["bash", str(script), "--personality", "Openness, Extroversion"], cwd=tmp_path, check=False,
        env={**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == end, done.stderr
    asked = (tmp_path / "asked").read_text(encoding="utf-8").splitlines()
    assert asked == ["dataset.build.caa --personality Openness, Extroversion --quiet --log-file overnight.log"] * tries
    assert done.stderr.count("again in 10 minutes") == tries - 1
