"""Generate the Python code of the protos, and prove that it is fresh.

`python protos/generate.py` writes messages, stubs and their types below client/python; `--check` writes nothing, and
fails with the name of each file that is stale, missing or left over. Run it with the environment that has grpcio-tools
and mypy-protobuf in the pinned versions: the oldest supported, because older code runs under newer runtimes and the
other way round does not import.

The path of a proto is the path of its import (`stopline/v1/consent.proto` is `stopline.v1.consent_pb2`), so nothing of
what protoc writes is changed afterwards.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from importlib import resources
from pathlib import Path

from grpc_tools import protoc

PROTOS = Path(__file__).resolve().parent
PYTHON = PROTOS.parent / "client" / "python"
PLUGINS = ("protoc-gen-mypy", "protoc-gen-mypy_grpc")
# Everything below is generated, and nothing else is named so.
GENERATED = ("*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.py", "*_pb2_grpc.pyi")


def find_plugin(name: str) -> str:
    """The program of a protoc plugin: beside this interpreter first, whether or not its environment is active.

    Raises:
        SystemExit: It is not installed.
    """
    beside = str(Path(sys.executable).parent)
    path = shutil.which(name, path=beside) or shutil.which(name)
    if path is None:
        raise SystemExit(f"{name} is not installed; `make install` brings it")
    return path


def generate(target: Path) -> None:
    """Write the code of every proto below `target`.

    Raises:
        SystemExit: protoc failed; it has said why on standard error.
    """
    sources = sorted(path.relative_to(PROTOS).as_posix() for path in PROTOS.rglob("*.proto"))
    code = protoc.main(
        [
            "protoc",
            f"--proto_path={PROTOS}",
            f"--proto_path={resources.files('grpc_tools') / '_proto'}",
            *(f"--plugin={name}={find_plugin(name)}" for name in PLUGINS),
            f"--python_out={target}",
            f"--grpc_python_out={target}",
            # "quiet": the names of the files are told by --check, where they matter.
            f"--mypy_out=quiet:{target}",
            f"--mypy_grpc_out=quiet:{target}",
            *sources,
        ]
    )
    if code != 0:
        raise SystemExit(f"protoc failed with {code}")


def read_generated(root: Path) -> dict[str, bytes]:
    """The generated files below `root`, by their path in it."""
    # Only below the protos' own packages: a build directory or another environment may hold copies.
    packages = {path.name for path in PROTOS.iterdir() if path.is_dir()}
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for package in packages
        for pattern in GENERATED
        for path in (root / package).rglob(pattern)
    }


def differences(fresh: dict[str, bytes], present: dict[str, bytes]) -> list[str]:
    """One line for each file that is not as it would be generated now."""
    lines = [f"missing: {name}" for name in fresh.keys() - present.keys()]
    lines += [f"left over: {name}" for name in present.keys() - fresh.keys()]
    lines += [f"stale: {name}" for name in fresh.keys() & present.keys() if fresh[name] != present[name]]
    return sorted(lines)


def main() -> int:
    """Generate or check; the exit status."""
    parser = argparse.ArgumentParser(description="Generate the Python code of the protos into client/python.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail naming each file that is not fresh")
    check = parser.parse_args().check
    # Generated aside first, so that a proto that does not compile leaves the tree as it is.
    with tempfile.TemporaryDirectory(prefix="stopline-gen-") as scratch:
        generate(Path(scratch))
        fresh = read_generated(Path(scratch))
    present = read_generated(PYTHON)
    if check:
        lines = differences(fresh, present)
        sys.stderr.writelines(f"{line}\n" for line in lines)
        if lines:
            sys.stderr.write("generated code is not fresh; run `make gen` and commit what it writes\n")
        return 1 if lines else 0
    for name in present.keys() - fresh.keys():
        (PYTHON / name).unlink()
    for name, content in fresh.items():
        path = PYTHON / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
