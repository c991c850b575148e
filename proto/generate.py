"""Generates libs/repoloom/protos from the files beside this one; with --check says whether it is current, and lints.

protoc names Python modules after the files' packages (repoloom.filter.v1), which here would lie among the library's own
modules; so they go one level down, to repoloom.protos, and their imports of one another are changed accordingly. The
names of packages and services on the wire stay.
"""

import argparse
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from importlib.metadata import version
from pathlib import Path

from grpc_tools import protoc

PROTO = Path(__file__).resolve().parent
TARGET = PROTO.parent / "libs/repoloom/protos"
_INSTALLED = Path(sysconfig.get_path("purelib"))
_BUF = Path(sysconfig.get_path("scripts")) / "buf"
_IMPORT = re.compile(r"^(from|import) repoloom\.", re.MULTILINE)


def generate(folder: Path) -> None:
    """Writes the package `protos` below a folder."""
    with tempfile.TemporaryDirectory() as name:
        raw = Path(name)
        _protoc(*(f"--{plugin}_out={raw}" for plugin in ("python", "grpc_python")))
        _protoc(*(f"--{plugin}_out=quiet:{raw}" for plugin in ("mypy", "mypy_grpc")))
        for source in sorted(path for path in raw.rglob("*") if path.is_file()):
            target = folder / source.relative_to(raw / "repoloom")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(_IMPORT.sub(r"\1 repoloom.protos.", source.read_text()))
    for package in [folder, *(path for path in folder.rglob("*") if path.is_dir())]:
        (package / "__init__.py").write_text(f'"""Generated from proto/ by `make proto`{_with()}."""\n')


def lint() -> None:
    """Lints by buf, on the descriptors that protoc makes."""
    with tempfile.NamedTemporaryFile(suffix=".binpb") as image:
        _protoc(f"--descriptor_set_out={image.name}", "--include_imports", "--include_source_info")
        config = str(PROTO / "buf.yaml")
        if subprocess.run([_BUF, "lint", image.name, "--config", config], check=False).returncode:
            sys.exit("the protos break a rule of buf lint")


def _with() -> str:
    return f" with grpcio-tools {version('grpcio-tools')}"


def _protoc(*arguments: str) -> None:
    files = sorted(str(path) for path in PROTO.rglob("*.proto"))
    with tempfile.TemporaryDirectory() as name:
        # googleapis-common-protos has this file under a name of its own, though its code is registered under this one
        longrunning = Path(name) / "google/longrunning/operations.proto"
        longrunning.parent.mkdir(parents=True)
        shutil.copy(_INSTALLED / "google/longrunning/operations_proto.proto", longrunning)
        paths = [f"-I{path}" for path in (PROTO, name, _INSTALLED, _INSTALLED / "grpc_tools/_proto")]
        if protoc.main(["protoc", *paths, *arguments, *files]):
            sys.exit("protoc failed")


def _texts(folder: Path) -> dict[str, str]:
    paths = (path for path in folder.rglob("*.py*") if "__pycache__" not in path.parts)
    return {str(path.relative_to(folder)): path.read_text() for path in paths}


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail where the generated code is not current"
    )
    if parser.parse_args().check:
        lint()
        with tempfile.TemporaryDirectory() as name:
            generate(Path(name))
            if _texts(Path(name)) != _texts(TARGET):
                sys.exit("libs/repoloom/protos is not what proto/ generates: run `make proto`")
        return
    shutil.rmtree(TARGET, ignore_errors=True)
    generate(TARGET)


if __name__ == "__main__":
    main()
