"""What the packages of the clients are made of."""

import ast
import json
import re
import subprocess
import sys

from stream_mer.server import messages as wire
from tools import packages


def test_the_client_imports_websockets_and_msgspec_alone(tmp_path):
    packages.assemble_python(tmp_path)
    imported = set()
    for path in tmp_path.rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ImportFrom):
                imported.add(node.module.partition(".")[0])
            elif isinstance(node, ast.Import):
                imported |= {one.name.partition(".")[0] for one in node.names}
    assert imported - sys.stdlib_module_names == {"stream_mer_client", "websockets", "msgspec"}


def test_the_renamed_client_is_whole(tmp_path):
    packages.assemble_python(tmp_path)
    script = "import stream_mer_client as c; c.connect('stage-pc'); print(len(c.messages.asyncapi()), c.__version__)"
    told = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {script}"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert told.stdout.split()[1] == packages.__version__
    text = "".join(path.read_text() for path in tmp_path.rglob("*.py"))
    assert not re.search(r"^\s*(from|import) stream_mer\b", text, flags=re.MULTILINE)


def test_the_bounds_are_those_of_the_whole_package(tmp_path):
    packages.assemble_python(tmp_path)
    about = packages.tomllib.loads((tmp_path / "pyproject.toml").read_text())["project"]
    whole = packages.tomllib.loads((packages.ROOT / "pyproject.toml").read_text())["project"]
    assert len(about["dependencies"]) == 2
    assert set(about["dependencies"]) <= set(whole["dependencies"])
    assert about["requires-python"] == whole["requires-python"]


def test_every_message_and_field_has_a_type():
    types = packages.typescript_messages()
    _, definitions = wire.components(wire.MESSAGE_TYPES, "{name}")
    for name, definition in definitions.items():
        (body,) = re.findall(rf"export interface {name} \{{(.*?)^\}}", types, flags=re.DOTALL | re.MULTILINE)
        assert set(re.findall(r"^  (\w+|\"[^\"]+\")\??:", body, flags=re.MULTILINE)) == set(definition["properties"])
    assert "unknown;" not in types
    assert '"happy" | "relaxed" | "sad" | "unknown" | (string & {})' in types, "a newer server may send another word"
    assert '"blackout" | "freeze" | "override" | "resume";' in types, "and a client may not"
    assert "gain_db?: number | null" in types


def test_the_types_have_every_option_and_method_of_mer_js():
    types = (packages.ROOT / "packages" / "npm" / "client.d.ts").read_text()
    source = (packages.PACKAGE / "server" / "web" / "mer.js").read_text()
    (options,) = re.findall(r"export function connect\(\s*url,\s*\{(.*?)\} = \{\}", source, flags=re.DOTALL)
    (client,) = re.findall(r"^  return \{(.*?)^  \};", source, flags=re.DOTALL | re.MULTILINE)
    methods = set(re.findall(r"^    (\w+)(?=[(:,])", client, flags=re.MULTILINE))
    typed = {
        name: set(re.findall(r"^  (\w+)[?(<:]", body, flags=re.MULTILINE))
        for name, body in re.findall(r"export interface (\w+) \{(.*?)^\}", types, flags=re.DOTALL | re.MULTILINE)
    }
    assert {"on", "subscribe", "control", "close"} <= methods == typed["Client"]
    assert {name.partition("=")[0].strip() for name in options.split(",") if name.strip()} == typed["Options"]
    kinds = {wire.kind_of(one) for one in wire.SERVER_TYPES} | {"link", "token"}
    assert {json.dumps(kind) if "." in kind else kind for kind in kinds} == typed["Events"] | {'"setup.update"'}
