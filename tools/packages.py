"""Build the clients that others install, from the sources of this repository: ``python -m tools.packages DIST``.

- ``stream-mer-client`` for pip, a wheel and a source archive: the modules that ``stream_mer.server.client`` imports,
  under the name ``stream_mer_client``.
- ``stream-mer-client`` for npm: ``mer.js``, its types (made from the messages of ``mer.v1``) and an entry for Node.

``packages/`` holds what is not in the sources: descriptions, and the public names.
"""

from __future__ import annotations

import ast
import gzip
import io
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stream_mer.server import messages as wire
from stream_mer.version import __version__

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "stream_mer"
BUILD = ROOT / "build" / "packages"

PYTHON_NAME = "stream_mer_client"
PYTHON_ENTRY = "stream_mer.server.client"
PYTHON_DATA = ("server/examples.json", "py.typed")
PYTHON_DEPENDENCIES = ("msgspec", "websockets")

_IMPORT = re.compile(r"(?<=from )stream_mer(?= )|(?<=import )stream_mer\b|\bstream_mer(?=\.[a-z])")
"""The package in imports, names of loggers and places of resources; not where a sentence is about the program."""


# The package for pip


def imported_modules(entry: str) -> list[str]:
    """Return the modules of ``stream_mer`` that a module needs to be imported, itself included, with their packages."""
    found: set[str] = set()
    waiting = [entry]
    while waiting:
        module = waiting.pop()
        if module in found or module == "stream_mer":
            continue
        found.add(module)
        waiting.append(module.rpartition(".")[0])
        waiting.extend(_imports_of(module))
    return sorted(found)


def _imports_of(module: str) -> Iterator[str]:
    for node in ast.parse(_file_of(module).read_text(encoding="utf-8")).body:  # not what is below TYPE_CHECKING
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "stream_mer":
            yield node.module
            yield from (name for one in node.names if _is_module(name := f"{node.module}.{one.name}"))
        elif isinstance(node, ast.Import):
            yield from (one.name for one in node.names if one.name.partition(".")[0] == "stream_mer")


def _file_of(module: str) -> Path:
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _is_module(name: str) -> bool:
    return _file_of(name).is_file()


def assemble_python(folder: Path) -> None:
    """Write the project of the Python client into a folder, which is replaced."""
    shutil.rmtree(folder, ignore_errors=True)
    target = folder / PYTHON_NAME
    for module in imported_modules(PYTHON_ENTRY):
        source = _file_of(module)
        path = target / source.relative_to(PACKAGE)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_IMPORT.sub(PYTHON_NAME, source.read_text(encoding="utf-8")), encoding="utf-8")
    for name in PYTHON_DATA:
        shutil.copy(PACKAGE / name, target / name)
    parts = ROOT / "packages" / "python"
    shutil.copy(parts / "__init__.py", target / "__init__.py")
    shutil.copy(parts / "README.md", folder / "README.md")
    shutil.copy(ROOT / "LICENSE", folder / "LICENSE")
    text = (parts / "pyproject.toml.in").read_text(encoding="utf-8")
    (folder / "pyproject.toml").write_text(_completed(text), encoding="utf-8")


def _completed(text: str) -> str:
    """Fill in what the description of the Python client shares with that of stream-mer."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = [one for one in project["dependencies"] if re.split(r"[^\w-]", one)[0] in PYTHON_DEPENDENCIES]
    return (
        text.replace('"@dependencies@"', json.dumps(needed))
        .replace("@version@", __version__)
        .replace("@requires-python@", project["requires-python"])
    )


def build_python(dist: Path) -> None:
    """Build the wheel and the source archive of the Python client into a folder."""
    folder = BUILD / "python"
    assemble_python(folder)
    command = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-t", "wheel", "-d", str(dist.resolve())]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - ours


# The package for npm


def typescript_messages() -> str:
    """Return an interface for each message of ``mer.v1`` and each object in it, as TypeScript.

    What the server sends may hold words that are newer than these types, so its choices are open; those of requests are
    not.
    """
    _, definitions = wire.components(wire.MESSAGE_TYPES, "{name}")
    sent = _reachable([one.__name__ for one in wire.SERVER_TYPES], definitions)
    return "\n".join(_interface(name, definitions[name], is_sent=name in sent) for name in definitions)


def _reachable(names: list[str], definitions: dict[str, Any]) -> set[str]:
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(re.findall(r'"\$ref": "(\w+)"', json.dumps(definitions[name])))
    return found


def _interface(name: str, definition: dict[str, Any], *, is_sent: bool) -> str:
    fields = definition["properties"]
    required = set(definition.get("required", ())) | {"type"}
    if is_sent and not getattr(wire, name).__struct_config__.omit_defaults:
        # A message of one kind always has the same keys; only what may be unset is left out.
        required |= {key for key, schema in fields.items() if "default" in schema}
    lines = [_comment(definition.get("description", ""), ""), f"export interface {name} {{"]
    for key, schema in fields.items():
        lines.append(_comment(schema.get("description", ""), "  "))
        lines.append(f"  {key}{'' if key in required else '?'}: {_type(schema, is_open=is_sent and key != 'type')};")
    return "\n".join([*filter(None, lines), "}", ""])


def _comment(text: str, indent: str) -> str:
    return f"{indent}/** {' '.join(text.replace('*/', '* /').split())} */" if text else ""


def _type(schema: dict[str, Any], *, is_open: bool) -> str:
    choices = schema.get("anyOf") or schema.get("allOf") or ()
    if choices:
        return " | ".join(dict.fromkeys(_type(one, is_open=is_open) for one in choices))
    if "enum" in schema:
        words = " | ".join(json.dumps(word) for word in schema["enum"])
        return f"{words} | (string & {{}})" if is_open else words
    if schema.get("type") == "array":
        items = [_type(one, is_open=is_open) for one in schema.get("prefixItems", ())]
        return f"[{', '.join(items)}]" if items else f"ReadonlyArray<{_type(schema['items'], is_open=is_open)}>"
    if schema.get("type") == "object":
        return f"Record<string, {_type(schema.get('additionalProperties', {}), is_open=is_open)}>"
    plain = str(schema.get("$ref") or schema.get("type", "unknown"))
    return "number" if plain == "integer" else plain


def build_npm(dist: Path) -> Path:
    """Build the package for npm into a folder, as ``npm pack`` would; return its path."""
    parts = ROOT / "packages" / "npm"
    about = f"// The types of mer.js and of the messages of {wire.PROTOCOL}, stream_mer {__version__}."
    own = (parts / "client.d.ts").read_text(encoding="utf-8").partition("\n\n")[2]
    files = {
        "package.json": (parts / "package.json").read_text(encoding="utf-8").replace("@version@", __version__),
        "mer.js": (PACKAGE / "server" / "web" / "mer.js").read_text(encoding="utf-8"),
        "mer.d.ts": "\n\n".join((about, typescript_messages(), own)),
        "node.js": (parts / "node.js").read_text(encoding="utf-8"),
        "README.md": (parts / "README.md").read_text(encoding="utf-8"),
        "LICENSE": (ROOT / "LICENSE").read_text(encoding="utf-8"),
    }
    path = dist / f"stream-mer-client-{__version__}.tgz"
    with (
        path.open("wb") as raw,
        gzip.GzipFile(fileobj=raw, mode="wb", filename="", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        for name, text in files.items():
            data = text.encode()
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size, entry.mode, entry.mtime = len(data), 0o644, 499_162_500  # the day that npm uses
            archive.addfile(entry, io.BytesIO(data))
    return path


def main() -> None:
    """Build everything into the folder that is named, or into ``dist``."""
    dist = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "dist"
    dist.mkdir(parents=True, exist_ok=True)
    build_python(dist)
    build_npm(dist)
    for path in sorted(dist.glob("stream[-_]mer[-_]client-*")):
        print(path)


if __name__ == "__main__":
    main()
