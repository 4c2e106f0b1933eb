"""Decides what the wheel holds beside the sources: the messages of the public contract.

They are generated from `proto/` while the package is built, so that `proto/` stays their only source.
A source distribution carries that folder along.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ProtoHook(BuildHookInterface[Any]):
    """Adds `luytre/v1` to a wheel, and `proto/` to a source distribution."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Generate, and have the result packed."""
        here = Path(self.root)
        proto = next((p for p in (here / "proto", here.parent.parent / "proto") if p.is_dir()), None)
        if proto is None:
            raise FileNotFoundError(f"no proto/ beside {here} or two folders up; build from a full clone")
        if self.target_name == "sdist":
            for source in [*proto.glob("luytre/v1/*.proto"), *proto.glob("google/rpc/*.proto")]:
                build_data["force_include"][str(source)] = f"proto/{source.relative_to(proto)}"
            return
        self._generated = tempfile.TemporaryDirectory(prefix="luytre-proto-")
        out = Path(self._generated.name)
        generate(proto, out)
        build_data["force_include"][str(out / "luytre" / "v1")] = "luytre/v1"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what was generated."""
        if self.target_name != "sdist":
            self._generated.cleanup()


def generate(proto: Path, out: Path) -> None:
    """Write the Python modules of `luytre.v1`, and a package that names all they hold."""
    import grpc_tools
    from google.protobuf.descriptor_pb2 import FileDescriptorSet
    from grpc_tools import protoc

    sources = sorted(str(p.relative_to(proto)) for p in proto.glob("luytre/v1/*.proto"))
    described = out / "contract.bin"
    arguments = [
        "protoc",
        f"-I{proto}",
        f"-I{Path(grpc_tools.__file__).parent / '_proto'}",
        f"--python_out={out}",
        f"--pyi_out={out}",
        f"--descriptor_set_out={described}",
        *sources,
    ]
    if protoc.main(arguments) != 0:
        raise RuntimeError("protoc refused the files of proto/; see its words above")
    lines = ['"""The messages of the public contract, generated from proto/luytre/v1."""', ""]
    names: list[str] = []
    for file in FileDescriptorSet.FromString(described.read_bytes()).file:
        module = file.name.rsplit("/", 1)[1].removesuffix(".proto") + "_pb2"
        held = [message.name for message in file.message_type]
        for enum in file.enum_type:
            held += [enum.name, *(value.name for value in enum.value)]
        names += held
        if held:
            lines.append(f"from luytre.v1.{module} import (")
            lines += [f"    {name}," for name in sorted(held)]
            lines.append(")")
    lines += ["", "__all__ = [", *(f'    "{name}",' for name in sorted(names)), "]", ""]
    (out / "luytre" / "v1" / "__init__.py").write_text("\n".join(lines), encoding="utf-8")
