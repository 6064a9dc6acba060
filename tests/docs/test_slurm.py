"""The scripts of the page about Slurm, with Slurm, Ray and psyctl played by programs that note what they are told."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PAGE = "docs/how-to/slurm.md"
PROGRAMS = {
    "scontrol": 'if [ "$1" = show ]; then printf "node1\\nnode2\\nnode3\\n"; else echo "$@" >>requeued; fi',
    "srun": 'echo "$@" >>srun; while [[ $1 == -* ]]; do [[ $1 == --* ]] && shift || shift 2; done; exec "$@"',
    # The first node takes a moment: its status and its address are not there at once.
    "ray": 'echo "$@" >>ray; [ "$RAY_AUTH_MODE" = token ] || exit 1\n'
    'case "$*" in "start --head"*) touch up ;; *start* | status*) [ -e up ] ;; esac',
    # Where it is slow it begins once the script catches SIGTERM: the bit before the last twelve of that mask.
    "psyctl": """
if [ -e slow ]; then
    until grep -q "^SigCgt:.*[4567cdef]...$" /proc/$PPID/status; do :; done
    trap 'kill $!; exit 143' TERM
    /bin/sleep 60 &
fi
echo "$@" >>psyctl
[ ! -e slow ] || wait
exit "$(cat code)"
""",
    "sleep": 'exec /bin/sleep 0."${1%s}"',
}
NODES = {"SLURM_JOB_ID": "4711", "SLURM_JOB_NODELIST": "node[1-3]", "SLURM_JOB_NUM_NODES": "3"}
ARRAY = {"SLURM_ARRAY_JOB_ID": "4711", "SLURM_ARRAY_TASK_ID": "4"}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="Slurm runs on Linux"),
]


@pytest.fixture
def start(read, tmp_path):
    """Start the page's script with this in it; gives the process."""
    bin = tmp_path / "pairs" / "bin"
    bin.mkdir(parents=True)
    for name, text in PROGRAMS.items():
        (bin / name).write_text(f"#!/bin/bash\n{text}\n", encoding="utf-8")
        (bin / name).chmod(0o755)

    def started(mark: str, code: int, environment: dict[str, str]) -> subprocess.Popen[str]:
        (script,) = [block for _, block in read(PAGE).blocks("bash") if mark in block]
        (tmp_path / "script.sh").write_text(script, encoding="utf-8")
        (tmp_path / "code").write_text(str(code), encoding="utf-8")
        env = {**os.environ, "HOME": str(tmp_path), "PATH": f"{bin}{os.pathsep}{os.environ['PATH']}", **environment}
        return subprocess.Popen(["bash", "script.sh"], cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True)

    return started


@pytest.mark.parametrize(("code", "again"), [(0, False), (1, False), (4, False), (75, True), (137, True)])
def test_a_cluster_is_made_and_the_job_comes_again_where_that_helps(start, tmp_path, code, again):
    job = start("--head", code, NODES)
    _, errors = job.communicate(timeout=60)
    assert job.returncode == code, errors
    told = (tmp_path / "ray").read_text(encoding="utf-8").splitlines()
    assert "get-auth-token --generate" in told
    assert "start --head --port 24711 --block" in told
    assert "start --address node1:24711 --block" in told
    steps = (tmp_path / "srun").read_text(encoding="utf-8")
    assert "-N 1 -n 1 -w node1" in steps
    assert "-N 2 -n 2 -x node1" in steps
    (command,) = (tmp_path / "psyctl").read_text(encoding="utf-8").splitlines()
    assert "--runner ray --ray-address auto" in command
    assert (tmp_path / "requeued").exists() == again


@pytest.mark.parametrize(("code", "again"), [(0, False), (75, True)])
def test_each_job_of_the_array_has_a_trait_of_its_own(start, tmp_path, code, again):
    job = start("traits=(", code, ARRAY)
    _, errors = job.communicate(timeout=60)
    assert job.returncode == code, errors
    (command,) = (tmp_path / "psyctl").read_text(encoding="utf-8").splitlines()
    assert f"--personality Openness --output {tmp_path}/dataset/Openness " in command
    requeued = tmp_path / "requeued"
    assert (requeued.read_text(encoding="utf-8") if again else requeued.exists()) == (
        "requeue 4711_4\n" if again else False
    )


@pytest.mark.parametrize(("mark", "environment"), [("--head", NODES), ("traits=(", ARRAY)])
def test_the_signal_before_the_end_is_handed_on_and_the_job_comes_again(start, tmp_path, mark, environment):
    (tmp_path / "slow").touch()
    job = start(mark, 0, environment)
    while not (tmp_path / "psyctl").exists():
        assert job.poll() is None
    job.terminate()
    _, errors = job.communicate(timeout=60)
    assert job.returncode == 143, errors
    assert (tmp_path / "requeued").exists()
