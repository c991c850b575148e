"""Edges of small repositories, one language after another: what is found, at which line, and how."""

import subprocess
import sys
from collections.abc import Mapping
from textwrap import dedent

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repoloom.corpus.languages import detect
from repoloom.stages.order.edges import edges
from repoloom.stages.order.languages import ALL
from repoloom.stages.order.languages.go import PACKAGE_FILES
from repoloom.stages.order.tree import SourceFile

LANGUAGES = sorted(name for rules in ALL for name in rules.LANGUAGES)


def source(path: str, content: str) -> SourceFile:
    data = dedent(content).encode()
    language = detect(path, data)
    return SourceFile(path, language.name if language else "", data)


def found(tree: Mapping[str, str]) -> set[tuple[str, str, int, str]]:
    return {tuple(edge) for edge in edges([source(path, content) for path, content in tree.items()])}


def pairs(tree: Mapping[str, str]) -> set[tuple[str, str]]:
    return {(importer, imported) for importer, imported, _, _ in found(tree)}


PYTHON = {
    "src/pkg/__init__.py": "",
    "src/pkg/a.py": "",
    "src/pkg/b.py": "",
    "src/pkg/sub/__init__.py": "",
    "src/pkg/sub/c.py": "",
}


@pytest.mark.parametrize(
    ("importer", "line", "edge"),
    [
        ("src/pkg/b.py", "import pkg.a", ("src/pkg/a.py", "package")),
        ("src/pkg/b.py", "import os, pkg.a as x", ("src/pkg/a.py", "package")),
        ("src/pkg/b.py", "from pkg import a", ("src/pkg/a.py", "package")),
        ("src/pkg/b.py", "from pkg import VERSION", ("src/pkg/__init__.py", "package")),
        ("src/pkg/b.py", "from pkg.a import *", ("src/pkg/a.py", "package")),
        ("src/pkg/b.py", "from . import a", ("src/pkg/a.py", "relative")),
        ("src/pkg/b.py", "from .import a", ("src/pkg/a.py", "relative")),
        ("src/pkg/b.py", "from .a import f", ("src/pkg/a.py", "relative")),
        ("src/pkg/b.py", "from . import VERSION", ("src/pkg/__init__.py", "relative")),
        ("src/pkg/sub/c.py", "from ..a import f", ("src/pkg/a.py", "relative")),
        ("src/pkg/sub/c.py", "from .. import a", ("src/pkg/a.py", "relative")),
        ("src/pkg/__init__.py", "from .sub import c", ("src/pkg/sub/c.py", "relative")),
        ("src/pkg/b.py", "try: import pkg.a\nexcept ImportError: pass", ("src/pkg/a.py", "package")),
        ("src/pkg/b.py", "from pkg import (  # (sic)\n  x,\n  a as y,\n)", ("src/pkg/a.py", "package")),
        ("src/pkg/b.py", "from pkg \\\n  import \\\n  a", ("src/pkg/a.py", "package")),
        ("tests/test_a.py", "from pkg.a import f", ("src/pkg/a.py", "package")),
    ],
)
def test_python_imports_are_found_and_resolved(importer: str, line: str, edge: tuple[str, str]) -> None:
    tree = PYTHON | {importer: f"'''import pkg.b'''\n{line}\n"}
    assert (importer, edge[0], 2, edge[1]) in found(tree)


@pytest.mark.parametrize(
    "text",
    [
        "# import pkg.a",
        "x = 'import pkg.a'",
        '"""\nimport pkg.a\n"""',
        "x = f'''\nfrom pkg import a\n'''",
        "reimport = pkg.a",
        "def f(): yield from pkg",
        "import pkg.missing",
        "from .... import a",
        "import a",
    ],
)
def test_python_text_that_imports_nothing_gives_no_edge(text: str) -> None:
    assert found(PYTHON | {"src/pkg/b.py": text}) == set()


def test_python_namespace_packages_are_found_in_every_root() -> None:
    tree = {"one/ns/a.py": "import ns.b", "two/ns/b.py": "", "three/deep/er.py": "from ns import a"}
    assert found(tree) == {
        ("one/ns/a.py", "two/ns/b.py", 1, "package"),
        ("three/deep/er.py", "one/ns/a.py", 1, "package"),
    }


def test_python_scripts_see_the_modules_beside_them_and_nobody_elses() -> None:
    tree = {"x/run.py": "import helper", "x/helper.py": "", "y/helper.py": "", "z/run.py": "import helper"}
    assert pairs(tree) == {("x/run.py", "x/helper.py")}


def test_a_python_package_hides_a_module_of_its_name() -> None:
    tree = {"m.py": "import pkg", "pkg/__init__.py": "", "pkg.py": ""}
    assert pairs(tree) == {("m.py", "pkg/__init__.py")}


def test_c_includes_resolve_beside_the_file_then_by_the_nearest_path_that_ends_so() -> None:
    tree = {
        "src/a.c": """\
            #include "b.h"
              #  include <lib/c.h>
            #include "../inc/d.h"
            #include <string.h>
            #include "e.inc"
        """,
        "src/b.h": "",
        "other/b.h": "",
        "include/lib/c.h": "",
        "inc/d.h": "",
        "compat/string.h": "",
        "src/deep/e.inc": "",
        "far/deep/e.inc": "",
    }
    assert found(tree) == {
        ("src/a.c", "src/b.h", 1, "relative"),
        ("src/a.c", "include/lib/c.h", 2, "include-path"),
        ("src/a.c", "inc/d.h", 3, "relative"),
        ("src/a.c", "src/deep/e.inc", 5, "include-path"),
    }


@pytest.mark.parametrize(
    "text",
    [
        '// #include "b.h"',
        '/*\n#include "b.h"\n*/',
        'const char *s = "/*";\n/*\n#include "b.h"\n',
        'auto s = R"x(\n#include "b.h"\n)x";',
        '#include MACRO("b.h")',
        'x #include "b.h"',
    ],
)
def test_c_text_that_includes_nothing_gives_no_edge(text: str) -> None:
    assert found({"a.cpp": text, "b.h": ""}) == set()


def test_c_strings_that_look_like_comments_hide_no_include() -> None:
    assert pairs({"a.cpp": 'auto s = "/*";\nint n = 1\'000; // "\n#include "b.h"\n', "b.h": ""}) == {("a.cpp", "b.h")}


ECMASCRIPT = {"src/a.ts": "", "src/b.js": "", "src/dir/index.ts": "", "src/data.json": "{}"}


@pytest.mark.parametrize(
    ("line", "imported"),
    [
        ("import './a'", "src/a.ts"),
        ("import a from './a.js'", "src/a.ts"),
        ('import a, { b as c } from "./a"', "src/a.ts"),
        ("import {\n  b, // don't\n  c,\n} from './a'", "src/a.ts"),
        ("import * as ns from './a'", "src/a.ts"),
        ("import type { T } from './a'", "src/a.ts"),
        ("import type from './a'", "src/a.ts"),
        ("import{b}from'./a';", "src/a.ts"),
        ("export * from './a'", "src/a.ts"),
        ("export * as ns from './a'", "src/a.ts"),
        ("export { b } from './a'", "src/a.ts"),
        ("import b = require('./b')", "src/b.js"),
        ("const { x } = require('./b')", "src/b.js"),
        ("const x = await import('./b.js')", "src/b.js"),
        ("import x from './dir'", "src/dir/index.ts"),
        ("import x from './dir/'", "src/dir/index.ts"),
        ("import x from './data.json' with { type: 'json' }", "src/data.json"),
        ('/// <reference path="./a.ts" />', "src/a.ts"),
        ("const q = /['\"`]/.test(x)\nimport './a'", "src/a.ts"),
    ],
)
def test_ecmascript_imports_are_found_and_resolved(line: str, imported: str) -> None:
    assert pairs(ECMASCRIPT | {"src/main.ts": f"// a comment with a `\n{line}\n"}) == {("src/main.ts", imported)}


@pytest.mark.parametrize(
    "text",
    [
        "// import './a'",
        "/* import './a' */",
        "const s = \"import './a'\"",
        "const s = `\nimport './a'\n`",
        "obj.require('./b')",
        "myrequire('./b')",
        "import(`./${name}`)",
        "require(name)",
        "import react from 'react'",
    ],
)
def test_ecmascript_text_that_imports_nothing_gives_no_edge(text: str) -> None:
    assert found(ECMASCRIPT | {"src/main.ts": text}) == set()


def test_ecmascript_aliases_come_from_the_nearest_tsconfig_and_what_it_extends() -> None:
    tree = {
        "tsconfig.base.json": '{"compilerOptions": {"baseUrl": ".", "paths": {"@lib/*": ["libs/*/src"],}} /* JSONC */}',
        "app/tsconfig.json": '{"extends": "../tsconfig.base.json"}',
        "app/main.ts": "import '@lib/math'\nimport 'libs/math/src/index'",
        "libs/math/src/index.ts": "",
    }
    assert found(tree) == {("app/main.ts", "libs/math/src/index.ts", 1, "tsconfig-paths")}


@pytest.mark.parametrize(
    ("manifest", "specifier", "imported"),
    [
        ('{"name": "@org/lib"}', "@org/lib", "packages/lib/src/index.ts"),
        ('{"name": "@org/lib"}', "@org/lib/util", "packages/lib/src/util.ts"),
        ('{"name": "@org/lib", "main": "dist/util.js"}', "@org/lib", "packages/lib/src/util.ts"),
        (
            '{"name": "@org/lib", "exports": {"./u/*": {"types": "./lib/*.d.ts"}}}',
            "@org/lib/u/util",
            "packages/lib/src/util.ts",
        ),
        ('{"name": "@org/lib", "exports": "./dist/util.mjs"}', "@org/lib", "packages/lib/src/util.ts"),
    ],
)
def test_ecmascript_packages_of_the_workspace_resolve_to_their_source(
    manifest: str, specifier: str, imported: str
) -> None:
    tree = {
        "packages/lib/package.json": manifest,
        "packages/lib/src/index.ts": "",
        "packages/lib/src/util.ts": "",
        "packages/app/main.ts": f"import '{specifier}'",
    }
    assert found(tree) == {("packages/app/main.ts", imported, 1, "package")}


@pytest.mark.parametrize("manifest", ["", "[", "[" * 100_000, "[]", '{"name": 1, "exports": [{"x": [[]]}]}', "\x00"])
def test_broken_manifests_are_no_obstacle(manifest: str) -> None:
    names = ("package.json", "tsconfig.json", "go.mod", "Cargo.toml", "lib/Cargo.toml")
    tree = dict.fromkeys(names, manifest) | {
        "a.ts": "import './b'; import 'x'",
        "b.ts": "",
        "lib/src/lib.rs": "use lib::x;",
    }
    assert pairs(tree) == {("a.ts", "b.ts")}


JAVA = {
    "src/main/java/org/x/Base.java": "package org.x;\npublic class Base { static class Inner {} }\nclass Second {}\n",
    "src/main/java/org/x/Lone.java": "package org.x;\npublic interface Lone {}\n",
    "src/main/java/org/y/Other.java": "package org.y;\npublic enum Other { A; }\n",
}


@pytest.mark.parametrize(
    ("body", "imported", "how"),
    [
        ("package org.z;\nimport org.x.Base;\nclass M {}", "org/x/Base", "import"),
        ("package org.z;\nimport org.x.Base.Inner;\nclass M {}", "org/x/Base", "import"),
        ("package org.z;\nimport static org.x.Base.make;\nclass M {}", "org/x/Base", "import"),
        ("package org.z;\nimport static org.x.Base.*;\nclass M {}", "org/x/Base", "import"),
        ("package org.z;\nimport org.y.*;\nclass M { Other o; }", "org/y/Other", "package"),
        ("package org.x;\n\nclass M extends Base {}", "org/x/Base", "same-package"),
        ("package org.x;\n\nclass M { Second s; }", "org/x/Base", "same-package"),
        ("package org.x;\n\nclass M { Object o = Lone.class; }", "org/x/Lone", "same-package"),
        ("package org.z;\n\nclass M { org.y.Other o; }", "org/y/Other", "qualified"),
    ],
)
def test_java_types_are_found_by_import_and_by_package(body: str, imported: str, how: str) -> None:
    tree = JAVA | {"src/test/java/M.java": body}
    line = 2 if how == "import" else 3
    assert found(tree) == {("src/test/java/M.java", f"src/main/java/{imported}.java", line, how)}


@pytest.mark.parametrize(
    "body",
    [
        'package org.x;\nclass M { /* Base */ String s = "Base"; // Lone\n }',
        "package org.x;\nclass M { class Base {} Base b; }",
        "package org.x;\nimport org.q.Base;\nclass M { Base b; }",
        "package org.x;\nclass M { Object o = thing.Base; }",
        "package org.x;\nclass M { Inner i; }",
        "package org.q;\nclass M { Base b; }",
        "package org.q;\nimport java.util.*;\nclass M { Base b; }",
    ],
)
def test_java_names_that_mean_something_else_give_no_edge(body: str) -> None:
    assert found(JAVA | {"src/main/java/M.java": body}) == set()


def test_csharp_types_are_found_by_namespace() -> None:
    tree = {
        "A.cs": "namespace Org.Core {\n  public class A { class Hidden {} }\n}\n",
        "B.cs": "namespace Org.Util;\npublic record B(int X);\npublic struct C {}\n",
        "M.cs": """\
            using Org.Util;
            using S = Org.Core.A;
            namespace Org.Core.Deep;
            class M { A a; C c; string s = @"\\"; /* B */ Hidden h; }
        """,
    }
    assert found(tree) == {("M.cs", "A.cs", 2, "using"), ("M.cs", "B.cs", 4, "using")}


GO = {
    "go.mod": "module example.com/m\n",
    "util/a.go": "package util\n\nfunc Helper() {}\n",
    "util/b.go": "package util\n\nvar (\n\tLimit = 1\n)\n",
    "util/a_test.go": "package util\n",
}


def test_go_imports_mean_every_file_of_a_package_but_its_tests() -> None:
    tree = GO | {
        "main.go": '// import "example.com/m/x"\npackage main\n\nimport (\n\t"fmt"\n\tu "example.com/m/util"\n)\n'
    }
    assert found(tree) == {("main.go", "util/a.go", 6, "package"), ("main.go", "util/b.go", 6, "package")}


def test_go_files_of_a_package_need_one_another_by_name() -> None:
    tree = GO | {"util/c.go": "package util\n\nfunc c() int {\n\tx.Helper()\n\t// Helper\n\treturn Limit\n}\n"}
    assert found(tree) == {("util/c.go", "util/b.go", 6, "same-package")}


def test_a_go_module_without_its_manifest_is_told_from_its_imports() -> None:
    tree = {
        "pkg/a/a.go": 'package a\n\nimport "github.com/o/m/pkg/b"\n',
        "pkg/b/b.go": 'package b\n\nimport "github.com/o/m/pkg/c"\nimport "github.com/other/c"\n',
        "pkg/c/c.go": "package c\n",
    }
    assert pairs(tree) == {("pkg/a/a.go", "pkg/b/b.go"), ("pkg/b/b.go", "pkg/c/c.go")}


def test_an_import_of_a_huge_go_package_gives_a_bounded_number_of_edges() -> None:
    tree = {"go.mod": "module m\n", "main.go": 'package main\nimport "m/p"\n'}
    tree |= {f"p/f{number:04}.go": "package p\n" for number in range(PACKAGE_FILES + 10)}
    assert len(pairs(tree)) == PACKAGE_FILES


def test_rust_modules_are_found_by_declaration_and_by_path() -> None:
    tree = {
        "crates/lib-a/Cargo.toml": '[package]\nname = "lib-a"\n',
        "crates/lib-a/src/lib.rs": "mod x;\nmod y;\npub use self::x::Thing;\n",
        "crates/lib-a/src/x.rs": "use crate::y::{self, deep::{Item, Other as O}};\nuse std::io;\n",
        "crates/lib-a/src/y/mod.rs": "pub mod deep;\n",
        "crates/lib-a/src/y/deep.rs": 'fn f() -> &\'static str { "crate::x"; super::super::x::g() }\n',
        "crates/app/src/main.rs": "use lib_a::y::deep::Item;\n#[cfg(test)]\nmod tests {\n    use super::*;\n}\n",
    }
    assert found(tree) == {
        ("crates/lib-a/src/lib.rs", "crates/lib-a/src/x.rs", 1, "mod"),
        ("crates/lib-a/src/lib.rs", "crates/lib-a/src/y/mod.rs", 2, "mod"),
        ("crates/lib-a/src/x.rs", "crates/lib-a/src/y/mod.rs", 1, "crate"),
        ("crates/lib-a/src/x.rs", "crates/lib-a/src/y/deep.rs", 1, "crate"),
        ("crates/lib-a/src/y/mod.rs", "crates/lib-a/src/y/deep.rs", 1, "mod"),
        ("crates/lib-a/src/y/deep.rs", "crates/lib-a/src/x.rs", 1, "relative"),
        ("crates/app/src/main.rs", "crates/lib-a/src/y/deep.rs", 1, "workspace"),
    }


def test_a_path_that_occurs_twice_stands_for_its_first_file() -> None:
    files = [source("a.py", "import b"), source("a.py", "import c"), source("b.py", ""), source("c.py", "")]
    assert [(edge.importer, edge.imported) for edge in edges(files)] == [("a.py", "b.py")]


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.text(alphabet="ab/.\\ \n", min_size=1, max_size=8),
            st.sampled_from(LANGUAGES),
            st.binary(max_size=60) | st.text(alphabet="import from\"'`(){};#</*\n.\\ab*").map(str.encode),
        ),
        max_size=6,
    )
)
def test_any_paths_and_any_bytes_give_edges_between_these_paths(rows: list[tuple[str, str, bytes]]) -> None:
    files = [SourceFile(*row) for row in rows]
    paths = {file.path for file in files}
    result = edges(files)
    assert all(edge.importer in paths and edge.imported in paths and edge.line >= 1 for edge in result)
    assert all(edge.importer != edge.imported for edge in result)
    assert [tuple(edge[:2]) for edge in result] == sorted({tuple(edge[:2]) for edge in result})


REPEATED = (
    "/*",
    '"',
    "'",
    "`",
    '"""',
    "(/[",
    "import {",
    'import "',
    "from a import (",
    "\nimport (",
    "use a::{",
    'r#"',
    'R"(',
    "class ",
    "namespace ",
    "{",
    "export * as ",
    'require("',
    "using X <",
    '@"',
    '\n#include "',
    "\nvar (\n\t",
    "\\\n",
    "a.",
)


@pytest.mark.parametrize("language", LANGUAGES)
def test_200_kilobytes_of_what_is_never_closed_takes_linear_time(language: str) -> None:
    for piece in REPEATED:  # quadratic work would run into the test's time limit
        edges([SourceFile("a/x", language, piece.encode() * (200_000 // len(piece)))])


def test_the_edges_do_not_depend_on_the_hash_seed() -> None:
    program = """
import sys
from repoloom.stages.order.edges import edges
from repoloom.stages.order.tree import SourceFile
names = [f"T{n}" for n in range(40)]
files = [
    SourceFile(f"{folder}/{name}.java", "Java", f"package p; class {name} {{ {'; '.join(names)}; }}".encode())
    for folder in ("a", "b") for name in names
]
sys.stdout.write(repr(edges(files)))
"""
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert len(outputs) == 1
    assert len(next(iter(outputs))) > 1000
