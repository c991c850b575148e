"""What package.json and tsconfig.json say of names: workspace packages, their exports, path aliases."""

import json
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple

from repoloom.stages.order.languages.lexing import COMMENT
from repoloom.stages.order.tree import Nearest, Tree, ancestors, folder_of, join

_JSONC_NOISE = re.compile(rb'"(?:[^"\\]++|\\.)*+"|' + COMMENT + rb"|,(?=\s*+[}\]])", re.DOTALL)
_OUTPUT_FOLDERS = frozenset({"dist", "lib", "build", "out", "es", "esm", "cjs", "umd"})
_SOURCES = (".ts", ".tsx", ".js", ".jsx", ".mjs")
_ENDING = re.compile(r"(?:\.d)?\.[cm]?[jt]sx?$")
_TABLE_ENTRIES = 2048  # of a table of names that are looked at
_EXTENDS = 8  # tsconfig files that may extend one another


class Packages:
    """The packages of a repository by name, without those below node_modules."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._names = Nearest()
        self._manifests: dict[str, Mapping[str, Any]] = {}
        for path in tree.named("package.json"):
            manifest = _read(tree, path)
            self._manifests[folder_of(path)] = manifest
            if isinstance(name := manifest.get("name"), str) and "node_modules/" not in path:
                self._names.add(name, path)

    def stems(self, importer: str, target: str) -> Iterator[str]:
        """The paths that a package name, a path in a package or an own `#name` may mean, the likelier first."""
        if target.startswith("#"):
            folder = next((folder for folder in ancestors(importer) if folder in self._manifests), None)
            if folder is not None:
                yield from self._mapped(folder, "imports", target)
            return
        scope = target.startswith("@")
        parts = target.split("/", 2 if scope else 1)
        name = "/".join(parts[: 1 + scope])
        inner = parts[1 + scope] if len(parts) > 1 + scope else ""
        manifest = self._names.find(name, importer)
        if manifest is None:
            return
        folder = folder_of(manifest)
        yield from self._mapped(folder, "exports", f"./{inner}" if inner else ".")
        if inner:
            yield from filter(None, (join(folder, f"src/{inner}"), join(folder, inner)))
        else:
            yield from self._fields(folder, "source", "module", "main", "types", "typings")
            yield from filter(None, (join(folder, "src/index"), join(folder, "index")))

    def entries(self, folder: str) -> Iterator[str]:
        """What an import of the folder itself means by its package.json, as tsc has it: declarations first."""
        return self._fields(folder, "types", "typings", "source", "module", "main")

    def _fields(self, folder: str, *fields: str) -> Iterator[str]:
        manifest = self._manifests.get(folder, {})
        for field in fields:
            if isinstance(entry := manifest.get(field), str):
                yield from self._sources(folder, entry)

    def _mapped(self, folder: str, field: str, name: str) -> Iterator[str]:
        """What `exports` or `imports` map a name to (Node.js, "Packages"), under any condition."""
        table = self._manifests[folder].get(field)
        if field == "exports" and not (isinstance(table, dict) and any(key.startswith(".") for key in table)):
            table = {".": table}
        if not isinstance(table, dict):
            return
        for pattern, value in islice(table.items(), _TABLE_ENTRIES):
            if (star := _star(pattern, name)) is not None:
                for target in sorted(_strings(value), key=_is_declaration):  # the implementation first
                    yield from self._sources(folder, target.replace("*", star))

    def _sources(self, folder: str, entry: str) -> Iterator[str]:
        """A path in a package, and the one under src/ that it would be built from."""
        if (path := join(folder, entry)) is None:
            return
        yield path
        inner = path.removeprefix(f"{folder}/")
        head, slash, rest = inner.partition("/")
        if slash and head in _OUTPUT_FOLDERS:
            stem = _ENDING.sub("", f"{folder}/src/{rest}".lstrip("/"))
            yield from (stem + ending for ending in _SOURCES)


class _Config(NamedTuple):
    base: str | None  # the folder that bare names are looked up in
    paths: Mapping[str, list[str]]  # pattern -> stems, as seen from the repository


class Aliases:
    """The `paths` and `baseUrl` of the tsconfig.json or jsconfig.json files."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._configs: dict[str, _Config] = {}
        for name in ("jsconfig.json", "tsconfig.json"):
            for path in tree.named(name):
                config = self._load(path)
                self._configs[folder_of(path)] = config

    def stems(self, importer: str, target: str) -> Iterator[str]:
        """The paths that the nearest configuration gives a bare name."""
        config = next((self._configs[folder] for folder in ancestors(importer) if folder in self._configs), None)
        if config is None:
            return
        matches = [(pattern, star) for pattern in config.paths if (star := _star(pattern, target)) is not None]
        if matches:  # the longest prefix before the star wins (TypeScript, "paths")
            pattern, star = max(matches, key=lambda match: len(match[0].partition("*")[0]))
            yield from (stem.replace("*", star) for stem in config.paths[pattern])
        if config.base is not None and (stem := join(config.base, target)) is not None:
            yield stem

    def _load(self, path: str) -> _Config:
        """A configuration with what it inherits."""
        base: str | None = None
        paths: Mapping[str, list[str]] = {}
        for _ in range(_EXTENDS):
            config = _read(self._tree, path)
            options = config.get("compilerOptions")
            options = options if isinstance(options, dict) else {}
            folder = folder_of(path)
            declared = join(folder, options["baseUrl"]) if isinstance(options.get("baseUrl"), str) else None
            if not paths and isinstance(options.get("paths"), dict):
                paths = _resolved(folder if declared is None else declared, options["paths"])
            base = declared if base is None else base
            parent = config.get("extends")
            parent = parent[-1] if isinstance(parent, list) and parent else parent
            if not isinstance(parent, str) or not parent.startswith("."):
                break
            above = join(folder, parent)
            found = [name for name in (above, f"{above}.json") if name is not None and name in self._tree]
            if not found:
                break
            path = found[0]
        return _Config(base, paths)


def _resolved(folder: str, paths: Mapping[str, Any]) -> dict[str, list[str]]:
    return {
        pattern: [stem for target in targets if isinstance(target, str) and (stem := join(folder, target)) is not None]
        for pattern, targets in islice(paths.items(), _TABLE_ENTRIES)
        if isinstance(targets, list)
    }


def _star(pattern: str, name: str) -> str | None:
    """What the pattern's `*` stands for in the name, "" where the pattern has none; None where they do not match."""
    before, star, after = pattern.partition("*")
    if not star:
        return "" if pattern == name else None
    if len(name) < len(before) + len(after) or not (name.startswith(before) and name.endswith(after)):
        return None
    return name[len(before) : len(name) - len(after)]


def _is_declaration(path: str) -> bool:
    return path.endswith((".d.ts", ".d.mts", ".d.cts"))


def _strings(value: object) -> Iterator[str]:
    """The targets in a tree of conditions."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict):
            pending.extend(reversed(item.values()))
        elif isinstance(item, list):
            pending.extend(reversed(item))


def _read(tree: Tree, path: str) -> Mapping[str, Any]:
    """A JSON object with comments and trailing commas; {} where the file holds none."""
    content = _JSONC_NOISE.sub(lambda found: found[0] if found[0][:1] == b'"' else b"", tree.read(path))
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
