"""Environments of the peers that the monitor is measured against: one for each, under .tools/bench, as their
requirements contradict one another and the project's."""

from __future__ import annotations

import json
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".tools" / "bench"

PACKAGES = {
    "evidently": ["evidently==0.7.23", "pandas<3", "pyarrow"],
    "whylogs": ["whylogs==1.6.4", "pandas<3", "numpy<2", "pyarrow==18.1.0"],
    "polars": ["polars==1.35.2", "pyarrow"],
    "river": ["river==0.22.0", "numpy"],
    "smclarify": ["smclarify==0.5", "pandas<2", "numpy<2", "setuptools"],
    "shap": ["shap", "scikit-learn", "pandas"],
}


def environment(name: str) -> Path:
    """The Python of a peer's environment, which is made where it is not there yet. Raises RuntimeError with
    the installer's words where it cannot be."""
    packages = PACKAGES[name]
    python = FOLDER / name / "bin" / "python"
    mark = FOLDER / name / ".done"
    wanted = sha256(repr(packages).encode()).hexdigest()
    if mark.is_file() and mark.read_text() == wanted:
        return python
    uv = ROOT / ".tools" / "bin" / "uv"
    _run([uv, "venv", "-q", "--clear", "--python", sys.executable, FOLDER / name])
    _run([uv, "pip", "install", "-q", "--compile-bytecode", "--python", python, *packages])
    mark.write_text(wanted)
    return python


def run(name: str, code: str, *arguments: Any) -> Any:
    """What a program prints last, as JSON, in a fresh process of a peer's environment."""
    command = [environment(name), "-W", "ignore", "-c", code, *map(str, arguments)]
    return json.loads(_run(command).strip().splitlines()[-1])


def _run(command: list[Any]) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {done.stderr.strip()[-2000:]}")
    return done.stdout


if __name__ == "__main__":
    for peer in sys.argv[1:] or PACKAGES:
        print(peer, environment(peer))
