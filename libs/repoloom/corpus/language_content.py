"""Patterns that tell languages apart where they share an extension, or share it with a language that is none of ours.

Written from what each language demands of its files, after the example of Linguist's heuristics. All input is hostile:
each pattern is bound to a line or to the start of the file, so that matching is linear in the head that is looked at.
"""

import re
from collections.abc import Mapping
from typing import TypeAlias

Rule: TypeAlias = tuple[str, re.Pattern[bytes]]
"""A language's name, "" for one that is none of ours, and what in a file's head shows it."""


def _any(*patterns: bytes) -> bytes:
    return b"|".join(patterns)


def _line(*patterns: bytes) -> bytes:
    r"""A line that begins, after blanks, with one of the patterns.

    Starting with a literal it is found many times faster than by `^`; the head that is searched begins with a `\n`.
    """
    return rb"\n[ \t]*(?:" + _any(*patterns) + rb")"


def _file(*patterns: bytes) -> bytes:
    """A file that begins, after white space, with one of the patterns."""
    return rb"\A\s{0,256}(?:" + _any(*patterns) + rb")"


def _rules(*rules: tuple[str, bytes]) -> tuple[Rule, ...]:
    return tuple((name, re.compile(pattern, re.MULTILINE)) for name, pattern in rules)


_OTHERWISE = b""
_XML = _file(rb"<(?:\?xml|!DOCTYPE|TS\b)")
_FORTH = _file(rb"\\ ", rb": \w", rb"\( ")
_PROLOG = _any(_line(rb":-"), rb"\)[ \t]*:-", rb"^[a-z]\w*\([^\n]*\)\.[ \t]*$")
_OBJECTIVE_C = _line(rb"#[ \t]*import\b", rb"@(?:interface|implementation|protocol|class|import|property|end)\b")
_SHADER = _rules(
    (
        "GLSL",
        _any(
            rb"\bgl_\w",
            _line(
                rb"#version\b",
                rb"(?:precision|uniform|varying|attribute)[ \t]",
                rb"layout[ \t]*\(",
                rb"(?:vec[234]|void)[ \t]+\w+[ \t]*\(",
            ),
        ),
    )
)
_SCHEME = _rules(
    ("", rb"\n\([a-z_]+\)[ \t]*@|\)[ \t]*@[a-z]"),
    ("Scheme", _any(_file(rb"[;(]", rb"#[!|]"), rb"\n\((?:define|import|library|use-modules)\b")),
)
_WOLFRAM = _any(_file(rb"\(\*"), rb"^(?:Notebook|BeginPackage|Needs|Get|Test)\[")

BY_CONTENT: Mapping[str, tuple[Rule, ...]] = {
    ".app": _rules(("Erlang", rb"^\{application,")),
    ".asm": _rules(("", _XML), ("Assembly", _OTHERWISE)),
    ".bb": _rules(("Clojure", _file(rb";", rb"\(", rb"#!"))),  # else BitBake, BlitzBasic
    ".bas": _rules(
        (
            "Visual Basic",
            _any(
                rb"^Attribute VB_", _line(rb"Option[ \t]+Explicit", rb"(?:Public |Private )?(?:Sub|Function)[ \t]+\w")
            ),
        )
    ),
    ".cdf": _rules(("Mathematica", _WOLFRAM)),
    ".cl": _rules(("Common Lisp", _file(rb";", rb"\(", rb"#\|"))),  # else OpenCL
    ".cls": _rules(  # else Apex, ABAP, OpenEdge
        ("TeX", rb"\\(?:ProvidesClass|NeedsTeXFormat|LoadClass|DeclareOption|RequirePackage)\b"),
        ("Visual Basic", rb"^(?:VERSION 1\.0 CLASS|Attribute VB_)"),
    ),
    ".comp": _SHADER,
    ".cs": _rules(("Smalltalk", _any(_file(rb"!"), rb"![ \t]*\w[^\n!]* methodsFor:")), ("C#", _OTHERWISE)),
    ".do": _rules(("Tcl", _line(rb"(?:vlib|vsim|vcom|vlog|add wave)\b")), ("Stata", _OTHERWISE)),  # ModelSim
    ".es": _rules(("Erlang", rb"^-(?:module|export|mode)\("), ("JavaScript", _OTHERWISE)),
    ".f": _rules(("", _FORTH), ("Fortran", _OTHERWISE)),
    ".for": _rules(("", _FORTH), ("Fortran", _OTHERWISE)),
    ".fp": _SHADER,
    ".frag": _SHADER,
    ".frm": _rules(("Visual Basic", rb"^(?:VERSION \d|Attribute VB_|Begin )")),
    ".fs": (*_SHADER, *_rules(("", _FORTH), ("F#", _OTHERWISE))),
    ".fun": _rules(("Standard ML", _line(rb"(?:functor|structure|fun|val)[ \t]+\w"))),
    ".geo": _SHADER,
    ".h": _rules(
        ("", _OBJECTIVE_C),
        (
            "C++",
            _line(
                rb"namespace[ \t]*(?:\w|\{|$)",
                rb"template[ \t]*<",
                rb"using[ \t]+(?:namespace\b|\w+[ \t]*=)",
                rb"(?:public|private|protected)[ \t]*:",
                rb"class[ \t]+\w[^;(\n]{0,200}[{;:]",
                rb"virtual[ \t]+[~\w]",
                rb"constexpr[ \t]",
                rb"#[ \t]*include[ \t]*<(?:algorithm|array|atomic|c(?:math|std(?:def|int|io|lib)|string)|chrono"
                rb"|functional|iostream|list|map|memory|mutex|optional|set|string|string_view|tuple|type_traits|utility"
                rb"|vector)>",
            ),
        ),
        ("C++", rb"std::\w"),
        ("C", _OTHERWISE),
    ),
    ".hh": _rules(("", _file(rb"<\?hh")), ("C++", _OTHERWISE)),  # Hack
    ".inc": _rules(
        ("PHP", rb"<\?(?:php|=)"),
        ("HTML", _file(rb"<[!a-zA-Z]")),
        (
            "",
            _line(rb"#(?:declare|local|macro|tryinclude)\b", rb"(?:stock|native|forward|public)[ \t]"),
        ),  # POV-Ray, Pawn
        (
            "C++",
            _line(rb"#[ \t]*(?:include|define|ifdef|ifndef|if)\b", rb"//", rb"(?:static|const|extern|struct)[ \t]+\w"),
        ),
        ("Pascal", _line(rb"\{\$", rb"(?:procedure|function)[ \t]+\w[^\n]*;[ \t]*$")),
        ("SQL", rb"(?i)" + _line(rb"create[ \t]+table", rb"insert[ \t]+into", rb"select[ \t]+\S")),
        (
            "Assembly",
            rb"(?i)"
            + _line(rb"%(?:define|macro|include)\b", rb"\.?(?:macro|section|global|byte|word|org|mov|ldr|jmp)\b")
            + rb"|^\w+:?[ \t]+(?:equ|db|dw|macro)\b",
        ),
    ),
    ".l": _rules(("Common Lisp", rb"^\((?:def\w+|in-package|let|setq)[ \t]")),  # else Lex, roff
    ".m": _rules(
        ("", _any(_OBJECTIVE_C, _line(rb"#[ \t]*include\b", rb"//", rb"/\*"))),
        ("Mathematica", _any(_WOLFRAM, rb"^\w+\[[^\]\n]{0,200}_[^\]\n]{0,200}\][ \t]*:?=")),
        ("MATLAB", _line(rb"%", rb"(?:function|classdef|if|for|while|end)\b", rb"\w+[ \t]*=[ \t]*[^=]")),
    ),  # else MUMPS, Mercury, Limbo
    ".mir": _rules(("YAML", _file(rb"---"))),
    ".ml": _rules(
        ("OCaml", _any(_line(rb"module[ \t]+\w", rb"let[ \t]", rb"open[ \t]+[A-Z]"), rb"\bmatch[ \t]")),
        ("Standard ML", _line(rb"(?:fun|val|structure|signature|functor)[ \t]+\w")),
        ("OCaml", _OTHERWISE),
    ),
    ".mpl": _rules(("Maple", _any(rb":=", _line(rb"#", rb"with\(")))),
    ".mt": _rules(("Mathematica", _WOLFRAM)),
    ".nb": _rules(("Mathematica", _WOLFRAM)),
    ".pl": _rules(
        (
            "Perl",
            _line(rb"(?:use|my|sub|package|require|our|local|foreach)[ \t]+[\w$@%({'\"]", rb"[$@%]\w+[ \t]*="),
        ),
        ("Prolog", _PROLOG),
        ("Perl", _OTHERWISE),
    ),
    ".plt": _rules(("Prolog", _PROLOG)),  # else gnuplot
    ".pm": _rules(("", _file(rb"/\* XPM")), ("Perl", _OTHERWISE)),
    ".pp": _rules(("Pascal", rb"(?i)" + _line(rb"\{\$", rb"(?:program|unit|library)[ \t]+\w+[ \t]*;"))),  # else Puppet
    ".pro": _rules(("Prolog", _PROLOG)),  # else qmake, IDL, ProGuard
    ".r": _rules(("", rb"(?i)" + _file(rb"rebol\b")), ("R", _OTHERWISE)),
    ".rs": _rules(("", _any(_XML, rb"^#pragma[ \t]+(?:version|rs)\b")), ("Rust", _OTHERWISE)),  # RenderScript
    ".sc": _rules(("Scala", _line(rb"(?:package|import|object|def|val|class|trait)[ \t]+[\w$]"))),  # else SuperCollider
    ".sch": _rules(("", _file(rb"\(kicad_sch", rb"EESchema", rb"<")), ("Scheme", rb"^[;(]")),
    ".scm": _SCHEME,  # else tree-sitter queries
    ".sig": _rules(("Standard ML", _line(rb"(?:signature|val|type|sig)\b"))),
    ".sls": _SCHEME,  # else Salt
    ".st": _rules(("Smalltalk", rb"\bsubclass:[ \t]*#|methodsFor:|\binstanceVariableNames:|^!\w")),  # else templates
    ".syntax": _rules(("YAML", rb"^[\w-]+:[ \t]")),
    ".t": _rules(("Perl", _line(rb"(?:use|my|package|require|plan|BEGIN)\b"))),
    ".tag": _rules(("Java Server Pages", rb"<%|<jsp:")),
    ".tm": _rules(("Tcl", _line(rb"(?:package|namespace|proc|set)[ \t]"))),
    ".ts": _rules(("", _XML), ("TypeScript", _OTHERWISE)),  # Qt Linguist
    ".v": _rules(  # else Coq, V
        (
            "Verilog",
            _line(
                rb"module[ \t]+\\?\w+[ \t]*(?:[#(;]|$)",
                rb"endmodule\b",
                rb"`(?:timescale|define|include|ifdef|ifndef|default_nettype)\b",
            ),
        ),
    ),
    ".vert": _SHADER,
    ".vrx": _SHADER,
    ".vs": _SHADER,
    ".yy": _rules(("JSON", _file(rb"[{\[]")), ("YACC", rb"^%")),
}
"""By extension: the rules in order; the first that is found decides, and where none is the file is none of ours."""
