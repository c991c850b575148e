"""The table of languages, and telling them by name, `#!` line and content."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tree_sitter_language_pack import get_language

from repoloom.corpus.language_content import BY_CONTENT
from repoloom.corpus.languages import LANGUAGES, PROSE, Language, by_name, detect
from repoloom.errors import InputError

ALL = (*LANGUAGES, *PROSE)


def name_of(path: str, head: bytes = b"") -> str | None:
    language = detect(path, head)
    return language.name if language else None


def test_there_are_the_87_languages_of_the_paper() -> None:
    assert len({language.name for language in LANGUAGES}) == len(LANGUAGES) == 87


def test_prose_is_beside_them() -> None:
    assert [language.name for language in PROSE] == ["Markdown", "reStructuredText", "Text"]


@pytest.mark.parametrize("language", [language for language in ALL if language.grammar], ids=lambda lang: lang.name)
def test_each_grammar_is_in_the_pack(language: Language) -> None:
    assert get_language(language.grammar)  # type: ignore[arg-type]


def test_a_language_is_found_by_its_name() -> None:
    assert by_name("C++").line_comment == "//"
    with pytest.raises(InputError, match="no language is called 'c\\+\\+'"):
        by_name("c++")


def test_extensions_are_lower_case_and_start_with_a_dot() -> None:
    for language in ALL:
        assert all(extension.startswith(".") and extension == extension.lower() for extension in language.extensions)


def test_each_extension_that_languages_share_is_decided_by_content() -> None:
    owners: dict[str, set[str]] = {}
    for language in ALL:
        for extension in language.extensions:
            owners.setdefault(extension, set()).add(language.name)
    assert {extension for extension, names in owners.items() if len(names) > 1} <= BY_CONTENT.keys()
    for extension, rules in BY_CONTENT.items():
        assert {name for name, _ in rules if name} == owners[extension], extension


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("setup.py", "Python"),
        ("src/Main.JAVA", "Java"),
        ("a.b/c.d.rs", "Rust"),
        ("CMakeLists.txt", "CMake"),
        ("notes.txt", "Text"),
        ("docs/guide.coffee.md", "Literate CoffeeScript"),
        ("docs/guide.md", "Markdown"),
        ("Dockerfile.dev", "Dockerfile"),
        ("lib/Makefile", "Makefile"),
        ("photo.jpeg", None),
        ("Makefile/photo.jpeg", None),
        (".gitignore", None),
        ("", None),
    ],
)
def test_names_tell_most_files(path: str, expected: str | None) -> None:
    assert name_of(path) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"#!/bin/sh\n", "Shell"),
        (b"#! /usr/bin/env python3\n", "Python"),
        (b"#!/usr/bin/env -S LANG=C python3.11 -u\n", "Python"),
        (b"#!/opt/perl5.36/bin/perl5.36 -w", "Perl"),
        (b"#!/usr/bin/env node\r\n", "JavaScript"),
        (b"#!/usr/bin/unheard-of\n", None),
        (b"#!\n", None),
        (b" #!/bin/sh\n", None),
    ],
)
def test_a_file_without_extension_is_told_by_its_interpreter(line: bytes, expected: str | None) -> None:
    assert name_of("bin/tool", line + b"code") == expected


@pytest.mark.parametrize(
    ("path", "head", "expected"),
    [
        ("a.h", b"#ifndef A_H\nint f(void);\n", "C"),
        ("a.h", b"/* words about class of things */\nstruct x;\n", "C"),
        ("a.h", b"namespace a {\n}\n", "C++"),
        ("a.h", b"#include <vector>\n", "C++"),
        ("a.h", b"int f(std::string s);\n", "C++"),
        ("a.h", b"#import <UIKit/UIKit.h>\n@interface A\n@end\n", None),
        ("a.m", b"function y = f(x)\ny = x;\n", "MATLAB"),
        ("a.m", b"(* ::Package:: *)\nf[x_] := x\n", "Mathematica"),
        ("a.m", b"#import <A.h>\n", None),
        ("a.pl", b"use strict;\nmy $x = 1;\n", "Perl"),
        ("a.pl", b"parent(tom, bob).\nancestor(X, Y) :- parent(X, Y).\n", "Prolog"),
        ("a.pl", b"#!/usr/bin/swipl\nmain.\n", "Prolog"),
        ("a.v", b"module top(input clk);\nendmodule\n", "Verilog"),
        ("a.v", b"Theorem a : True.\nProof. Qed.\n", None),
        ("a.cls", b"\\NeedsTeXFormat{LaTeX2e}\n", "TeX"),
        ("a.cls", b"VERSION 1.0 CLASS\n", "Visual Basic"),
        ("a.ts", b"export const x: number = 1;\n", "TypeScript"),
        ("a.ts", b"#!/usr/bin/env node\nexport {}\n", "TypeScript"),
        ("de.ts", b'<?xml version="1.0"?>\n<TS version="2.1">\n', None),
        ("a.inc", b"<?php echo 1;\n", "PHP"),
        ("a.inc", b"#define A 1\n", "C++"),
        ("a.inc", b"hello\n", None),
        ("a.fs", b"module A\nlet x = 1\n", "F#"),
        ("a.fs", b"#version 330\nvoid main() {}\n", "GLSL"),
        ("a.cl", b"(defun f (x) x)\n", "Common Lisp"),
        ("a.cl", b"__kernel void f() {}\n", None),
        ("a.ml", b"let rec f x = f x\n", "OCaml"),
        ("a.ml", b"fun f x = x\n", "Standard ML"),
        ("a.r", b"x <- 1\n", "R"),
        ("a.r", b"REBOL [Title: {x}]\n", None),
        ("a.hh", b"<?hh // strict\n", None),
    ],
)
def test_content_tells_languages_that_share_an_extension(path: str, head: bytes, expected: str | None) -> None:
    assert name_of(path, head) == expected


@given(st.sampled_from(sorted(BY_CONTENT)), st.binary(max_size=300))
def test_any_bytes_are_one_of_the_languages_of_the_extension_or_none(extension: str, head: bytes) -> None:
    language = detect("x" + extension, head)
    assert language is None or extension in language.extensions


@pytest.mark.parametrize("unit", [b" ", b"\n", b"\n ", b"(", b"a[", b"a_", b"class a ", b"!", b"a(", b"f(a).", b"\t\n"])
def test_no_pattern_goes_over_a_head_again_and_again(unit: bytes) -> None:
    for extension in BY_CONTENT:
        detect("x" + extension, unit * 100_000)
