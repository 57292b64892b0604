"""Who a source of sACN is (its CID): made once, and the same after every restart, but of no other machine.

E1.31 wants one identity a source: two sources with one are taken for one that contradicts itself, and lamps flash. A
host name is no identity, since many machines have the same.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path

log = logging.getLogger(__name__)

FILE = "sacn-identity"
MACHINE_ID = Path("/etc/machine-id")


def source_id(name: str, *, environ: Mapping[str, str] = os.environ, machine_id: Path = MACHINE_ID) -> bytes:
    """Return the identity of a source of this machine, 16 bytes.

    It is of the kept identity, so that machines of one image differ once each has its own; of the machine's, so that
    those that share a home folder do; and of the name, so that each rig has its own.

    Args:
        name: Of the source.
        environ: Tells where the state is kept.
        machine_id: The file with the machine's own.
    """
    try:
        machine = machine_id.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        machine = ""
    return uuid.uuid5(_kept(state_folder(environ), has_machine_id=bool(machine)), f"{machine}/{name}").bytes


def state_folder(environ: Mapping[str, str], *, platform: str = sys.platform) -> Path | None:
    """Return where a user's programs keep what they must remember; None for a user without a home."""
    base = environ.get("XDG_STATE_HOME") or (environ.get("LOCALAPPDATA") if platform == "win32" else None)
    try:
        return (Path(base) if base else Path.home() / ".local" / "state") / "stream_mer"
    except RuntimeError:
        return None


def _kept(folder: Path | None, *, has_machine_id: bool) -> uuid.UUID:
    """Return what is kept in the folder, or keep something new there."""
    reason = "this user has no home folder"
    if folder is not None:
        try:
            return _read(folder / FILE) or _write(folder / FILE)
        except OSError as error:
            reason = f"{folder / FILE}: {error.strerror or error}"
    if has_machine_id:  # stable, though the same on every copy of the machine
        log.info("the identity of sACN cannot be kept (%s); that of the machine counts alone", reason)
        return uuid.NAMESPACE_OID
    log.warning("the identity of sACN cannot be kept (%s): it is another one after a restart", reason)
    return uuid.uuid4()


def _read(path: Path) -> uuid.UUID | None:
    try:
        with path.open("rb") as file:
            return uuid.UUID(file.read(64).decode("ascii").strip())
    except (FileNotFoundError, ValueError):  # the latter also where it is damaged: a new one is made
        return None


def _write(path: Path) -> uuid.UUID:
    """Keep a new identity; return that of another process that was faster, if there is one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made = uuid.uuid4()
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{FILE}-", delete=False, encoding="ascii") as file:
        file.write(f"{made}\n")
    Path(file.name).replace(path)
    return _read(path) or made
