"""Imported first by scripts that are written in Python: they go on in .venv, which is set up where it is not there."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_VENV = ROOT / ".venv"

if Path(sys.prefix).resolve() != _VENV.resolve():
    if subprocess.run(["bash", str(ROOT / "scripts" / "setup.sh")], stdout=sys.stderr).returncode:
        sys.exit(1)
    python = str(_VENV / "bin" / "python")
    os.execv(python, [python, *sys.argv])

sys.path.insert(0, str(ROOT))
