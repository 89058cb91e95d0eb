"""Reading a file's C2PA manifest store for what it says about training and mining. Facts only: rights judges them.

Signals are looked for in every manifest of the store, ingredients too: a restriction does not lapse with an edit.
"""

import io
import json
import re
from functools import cache
from typing import Any

# The C2PA 1.x assertion and its successor, CAWG Training and Data Mining Assertion 1.0 and 1.1; repeats get a suffix.
_LABEL = re.compile(r"(c2pa|cawg)\.training-mining(\.v\d+)?(__\d+)?$")
_REMOTE = re.compile(r"Remote: .* url (\S+)")  # the SDK's words for a store that lies elsewhere; we fetch nothing
_MARKERS = (b"jumb", b"c2pa", b"dcterms:provenance")  # JUMBF boxes; a manifest kept elsewhere is named in the XMP
_MIME = {"JPEG": "image/jpeg", "MPO": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "TIFF": "image/tiff"}
_MIME |= {"GIF": "image/gif", "AVIF": "image/avif"}


def read_credentials(data: bytes, image_format: str, searched: bytes) -> tuple[dict[str, Any] | None, list[str]]:
    """(facts of the manifest store, what could not be read). None without a store. Never raises.

    `searched`: the part of `data` that can hold one.

    Facts: `state` Trusted | Valid | Invalid | Unreadable | Remote (kept elsewhere), `remote_url`, and
    `training_mining`: for each entry of each assertion its label, entry, use, constraint_info, manifest, and whether
    that is the active manifest.
    """
    mime = _MIME.get(image_format)
    if mime is None or not any(marker in searched for marker in _MARKERS):
        return None, []  # starting the reader costs milliseconds
    try:
        import c2pa

        reader = c2pa.Reader.try_create(mime, io.BytesIO(data), context=_context())
        if reader is None:
            return None, []
        with reader:
            store = json.loads(reader.json())
            facts = {"state": reader.get_validation_state() or "Invalid", "remote_url": reader.get_remote_url()}
    except Exception as error:  # whatever the SDK meets in hostile bytes
        if remote := _REMOTE.search(str(error)):
            return {"state": "Remote", "remote_url": remote[1], "training_mining": []}, []
        facts = {"state": "Unreadable", "remote_url": None, "training_mining": []}
        return facts, [f"c2pa: {type(error).__name__}: {error}"[:300]]
    entries, unreadable = _training_mining(store)
    return facts | {"training_mining": entries}, unreadable


def _training_mining(store: dict[str, Any]) -> tuple[list[dict[str, Any]], list[str]]:
    found: list[dict[str, Any]] = []
    unreadable: list[str] = []
    for name, manifest in sorted(store.get("manifests", {}).items()):
        for assertion in manifest.get("assertions", []):
            label, data = assertion.get("label", ""), assertion.get("data")
            if not _LABEL.match(label):
                continue
            where = {"label": label, "manifest": name, "active": name == store.get("active_manifest")}
            # version 1.0 of the CAWG schema has the entries at the top
            entries = data.get("entries", data) if isinstance(data, dict) else None
            if not isinstance(entries, dict):
                unreadable.append(f"c2pa: {label} in {name} has no entries")
                continue
            for entry, value in sorted(entries.items()):
                if isinstance(value, dict) and isinstance(value.get("use"), str):
                    # the CAWG text says constraints_info, its schema constraint_info
                    info = value.get("constraint_info", value.get("constraints_info"))
                    found.append(where | {"entry": entry, "use": value["use"], "constraint_info": info})
                elif isinstance(value, str):
                    found.append(where | {"entry": entry, "use": value, "constraint_info": None})
                else:
                    unreadable.append(f"c2pa: {label}, {entry} in {name} has no use")
    return found, unreadable


@cache
def _context() -> Any:
    """One context a process: no network, no trust anchors of ours (who signed is not what a restriction hangs on)."""
    import c2pa

    settings = {
        "version": 1,
        "verify": {"verify_trust": True, "remote_manifest_fetch": False, "ocsp_fetch": False},
        "core": {"allowed_network_hosts": []},
    }
    return c2pa.Context(c2pa.Settings.from_dict(settings))
