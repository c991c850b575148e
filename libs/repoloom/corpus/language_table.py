"""The languages as data: the 87 of DeepSeek-Coder's Table 1, and the prose beside them.

Names and choice: arXiv 2401.14196, Table 1 (the list in its repository's README adds Markdown and reStructuredText,
which the paper counts as the English part of the corpus). Extensions, file names and interpreters: Linguist's for those
languages, as The Stack used them (arXiv 2211.15533), less those that mostly hold something else in practice (`.spec`,
`.tab`, `.aux`, ...). Grammars: the names of tree-sitter-language-pack 0.13, less those that say nothing about a file:
those for Perl and Agda crash, Perl's on half of all Perl, and those for assembly, SQL and Tcl find errors in much of
what works (in PostgreSQL's own scripts, in Tk's own library); CMake's reads other trees in other builds of Python.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Language:
    """What is known of a language by its name."""

    name: str
    extensions: tuple[str, ...] = ()  # lower case, with the dot; `.coffee.md` wins over `.md`
    filenames: tuple[str, ...] = ()  # exact
    interpreters: tuple[str, ...] = ()  # of a `#!` line, without version
    line_comment: str | None = None
    block_comment: tuple[str, str] | None = None
    grammar: str | None = None  # of tree-sitter-language-pack, where it can read the language (see below)


_C = ("/*", "*/")
_ML = ("(*", "*)")
_HASKELL = ("{-", "-}")
_LISP = ("#|", "|#")
_XML = ("<!--", "-->")


def _language(
    name: str,
    extensions: str,
    line_comment: str | None = None,
    block_comment: tuple[str, str] | None = None,
    grammar: str | None = None,
    filenames: str = "",
    interpreters: str = "",
) -> Language:
    return Language(
        name,
        tuple(extensions.split()),
        tuple(filenames.split()),
        tuple(interpreters.split()),
        line_comment,
        block_comment,
        grammar,
    )


LANGUAGES: tuple[Language, ...] = (
    _language("Ada", ".adb .ads .ada", "--", None, "ada"),
    _language("Agda", ".agda", "--", _HASKELL),
    _language("Alloy", ".als", "//", _C),
    _language("ANTLR", ".g4", "//", _C),
    _language("AppleScript", ".applescript .scpt", "--", _ML, interpreters="osascript"),
    _language("Assembly", ".asm .s .nasm .nas .a51 .inc", ";"),
    _language("Augeas", ".aug", None, _ML),
    _language("AWK", ".awk .auk .gawk .mawk .nawk", "#", interpreters="awk gawk mawk nawk"),
    _language("Batchfile", ".bat .cmd", "REM"),
    _language("Bluespec", ".bsv", "//", _C),
    _language("C", ".c .h .cats .idc .h.in", "//", _C, "c", interpreters="tcc"),
    _language("C#", ".cs .csx .cake .linq", "//", _C, "csharp"),
    _language("Clojure", ".clj .cljs .cljc .cljx .cl2 .boot .hic .bb", ";", None, "clojure", interpreters="bb"),
    _language("CMake", ".cmake .cmake.in", "#", ("#[[", "]]"), None, "CMakeLists.txt"),
    _language("CoffeeScript", ".coffee .cjsx .iced", "#", ("###", "###"), None, "Cakefile", "coffee"),
    _language(
        "Common Lisp", ".lisp .lsp .asd .cl .l .ny .podsl .sexp", ";", _LISP, "commonlisp",
        interpreters="lisp sbcl ccl clisp ecl",
    ),
    _language(
        "C++", ".cpp .cc .cxx .c++ .cp .cppm .ixx .h .hpp .hh .hxx .h++ .inl .ipp .tcc .tpp .txx .ino .inc",
        "//", _C, "cpp",
    ),
    _language("CSS", ".css", None, _C, "css"),
    _language("CUDA", ".cu .cuh", "//", _C, "cuda"),
    _language("Dart", ".dart", "//", _C, "dart", interpreters="dart"),
    _language("Dockerfile", ".dockerfile .containerfile", "#", None, "dockerfile", "Dockerfile Containerfile"),
    _language("Elixir", ".ex .exs", "#", None, "elixir", interpreters="elixir"),
    _language("Elm", ".elm", "--", _HASKELL, "elm"),
    _language("Emacs Lisp", ".el .emacs", ";", None, "elisp", ".emacs .gnus .spacemacs _emacs Cask Eask"),
    _language(
        "Erlang", ".erl .hrl .escript .xrl .yrl .app.src .app .es", "%", None, "erlang",
        "Emakefile rebar.config", "escript",
    ),
    _language("F#", ".fs .fsi .fsx", "//", _ML, "fsharp"),
    _language("Fortran", ".f .f90 .f95 .f03 .f08 .f77 .for .fpp", "!", None, "fortran"),
    _language(
        "GLSL",
        ".glsl .vert .frag .geom .tesc .tese .comp .glslf .glslv .frg .fsh .vsh .fshader .vshader .gshader .rchit "
        ".rmiss .fs .vs .fp .vrx .geo",
        "//", _C, "glsl",
    ),
    _language("Go", ".go", "//", _C, "go"),
    _language("Groovy", ".groovy .gvy .grt .gtpl .gradle", "//", _C, "groovy", "Jenkinsfile", "groovy"),
    _language("Haskell", ".hs .hs-boot .hsc", "--", _HASKELL, "haskell", interpreters="runghc runhaskell runhugs"),
    _language("HTML", ".html .htm .xhtml .xht .inc", None, _XML, "html"),
    _language("Idris", ".idr .lidr", "--", _HASKELL),
    _language("Isabelle", ".thy", None, _ML),
    _language("Java", ".java .jav .jsh", "//", _C, "java"),
    _language("Java Server Pages", ".jsp .tag", None, ("<%--", "--%>")),
    _language(
        "JavaScript", ".js .mjs .cjs .jsx .es6 .es .jsm .sjs .ssjs .xsjs .xsjslib .jsb .jake .jscad .jsfl .bones .pac",
        "//", _C, "javascript", "Jakefile", "node nodejs bun deno d8 gjs js qjs rhino v8 v8-shell",
    ),
    _language(
        "JSON",
        ".json .jsonc .jsonl .geojson .topojson .webmanifest .webapp .har .avsc .gltf .mcmeta .tfstate .sarif .yy .yyp",
        None, None, "json",
        ".arcconfig .nycrc .tern-project .watchmanconfig .all-contributorsrc .htmlhintrc composer.lock Pipfile.lock "
        "flake.lock deno.lock bun.lock",
    ),
    _language("Julia", ".jl", "#", ("#=", "=#"), "julia", interpreters="julia"),
    _language("Jupyter Notebook", ".ipynb", None, None, "json"),
    _language("Kotlin", ".kt .kts .ktm", "//", _C, "kotlin"),
    _language("Lean", ".lean .hlean", "--", ("/-", "-/")),
    _language("Literate Agda", ".lagda .lagda.md .lagda.tex .lagda.rst", "%"),
    _language("Literate CoffeeScript", ".litcoffee .coffee.md", None, _XML),
    _language("Literate Haskell", ".lhs", "%"),
    _language(
        "Lua", ".lua .nse .pd_lua .rbxs .rockspec .wlua", "--", ("--[[", "]]"), "lua", ".luacheckrc", "lua luajit"
    ),
    _language(
        "Makefile", ".mk .mak .make .makefile .mkfile", "#", None, "make",
        "Makefile makefile GNUmakefile BSDmakefile Kbuild Makefile.am Makefile.in Makefile.inc Makefile.boot mkfile",
        "make",
    ),
    _language("Maple", ".mpl", "#", _ML),
    _language(
        "Mathematica", ".m .nb .wl .wls .wlt .mt .mathematica .cdf .nbp", None, _ML,
        interpreters="wolfram wolframscript math MathKernel WolframKernel MathematicaScript",
    ),
    _language("MATLAB", ".m .matlab", "%", ("%{", "%}"), "matlab"),
    _language(
        "OCaml", ".ml .mli .mll .mly .ml4 .eliom .eliomi", None, _ML, "ocaml",
        interpreters="ocaml ocamlrun ocamlscript",
    ),
    _language("Pascal", ".pas .dpr .lpr .pascal .pp .inc .dfm", "//", ("{", "}"), "pascal", interpreters="instantfpc"),
    _language(
        "Perl", ".pl .pm .perl .ph .plx .psgi .t", "#", ("=pod", "=cut"), None,
        "Makefile.PL Rexfile cpanfile .latexmkrc", "perl cperl",
    ),
    _language(
        "PHP", ".php .phtml .php3 .php4 .php5 .phpt .phps .ctp .inc", "//", _C, "php",
        ".php_cs .php_cs.dist Phakefile", "php",
    ),
    _language("PowerShell", ".ps1 .psm1 .psd1", "#", ("<#", "#>"), "powershell", interpreters="pwsh powershell"),
    _language("Prolog", ".pl .pro .prolog .plt .yap", "%", _C, interpreters="swipl yap"),
    _language("Protocol Buffer", ".proto", "//", _C, "proto"),
    _language(
        "Python", ".py .pyi .pyw .py3 .pyp .pyt .rpy .gyp .gypi .lmi .tac .wsgi .xpy", "#", ('"""', '"""'),
        "python",
        "SConscript SConstruct wscript DEPS .gclient", "python pypy uv",
    ),
    _language("R", ".r .rsx", "#", None, "r", ".Rprofile", "Rscript"),
    _language("Racket", ".rkt .rktd .rktl .scrbl", ";", _LISP, "racket", interpreters="racket"),
    _language("RMarkdown", ".rmd .qmd", None, _XML),
    _language(
        "Ruby",
        ".rb .rake .gemspec .ru .rbi .podspec .jbuilder .builder .thor .rabl .rbw .ruby .god .watchr .prawn .rbx",
        "#", ("=begin", "=end"), "ruby",
        "Gemfile Rakefile Vagrantfile Guardfile Capfile Podfile Fastfile Berksfile Brewfile Dangerfile Thorfile "
        "Appraisals Puppetfile Buildfile .irbrc .pryrc .simplecov",
        "ruby jruby macruby rake rbx",
    ),
    _language("Rust", ".rs .rs.in", "//", _C, "rust", interpreters="rust-script"),
    _language("SAS", ".sas", None, _C),
    _language("Scala", ".scala .sbt .sc .kojo", "//", _C, "scala", interpreters="scala"),
    _language(
        "Scheme", ".scm .sld .sls .sps .ss .sch", ";", _LISP, "scheme",
        interpreters="scheme guile bigloo chicken csi gosh r6rs",
    ),
    _language(
        "Shell", ".sh .bash .zsh .ksh .bats .command .tool .sbatch .slurm .tmux .zsh-theme .sh.in", "#", None, "bash",
        ".bashrc .bash_profile .bash_aliases .bash_functions .bash_logout .profile .kshrc .zshrc .zshenv .zprofile "
        ".zlogin .zlogout .envrc .xinitrc .xsession .tmux.conf PKGBUILD gradlew mvnw",
        "sh bash dash ash zsh ksh mksh pdksh",
    ),
    _language("Smalltalk", ".st .cs", None, ('"', '"')),
    _language("Solidity", ".sol", "//", _C, "solidity"),
    _language("SPARQL", ".sparql .rq", "#", None, "sparql"),
    _language("SQL", ".sql .ddl .mysql .prc .udf .viw .inc", "--", _C),
    _language("Stan", ".stan", "//", _C),
    _language("Standard ML", ".sml .sig .fun .ml", None, _ML),
    _language("Stata", ".do .ado .doh .ihlp .mata .matah .sthlp", "//", _C),
    _language("SystemVerilog", ".sv .svh .vh", "//", _C, "verilog"),
    _language("Tcl", ".tcl .adp .tm .sdc .xdc .tcl.in .do", "#", interpreters="tclsh wish"),
    _language("Tcsh", ".tcsh .csh", "#", None, None, ".cshrc .login .tcshrc", "tcsh csh"),
    _language("TeX", ".tex .ltx .sty .cls .dtx .ins .bbx .cbx .lbx .mkii .mkiv .mkvi", "%", None, "latex"),
    _language("Thrift", ".thrift", "//", _C, "thrift"),
    _language("TypeScript", ".ts .tsx .mts .cts", "//", _C, "typescript", interpreters="ts-node tsx"),
    _language("Verilog", ".v .veo", "//", _C, "verilog"),
    _language("VHDL", ".vhdl .vhd .vhf .vhi .vho .vhs .vht .vhw", "--", None, "vhdl"),
    _language("Visual Basic", ".vb .bas .cls .frm .vba .vbs .vbhtml", "'"),
    _language("XSLT", ".xslt .xsl", None, _XML, "xml"),
    _language("YACC", ".y .yacc .yy", None, _C),
    _language(
        "YAML", ".yml .yaml .sublime-syntax .syntax .yaml-tmlanguage .reek .rviz .mir", "#", None, "yaml",
        ".clang-format .clang-tidy .clangd .gemrc CITATION.cff glide.lock pixi.lock yarn.lock",
    ),
    _language("Zig", ".zig .zon", "//", None, "zig"),
)  # fmt: skip
"""The 87 programming languages, in the paper's order."""

PROSE: tuple[Language, ...] = (
    _language(
        "Markdown", ".md .markdown .mdown .mdwn .mkd .mkdn .mkdown .mdx .livemd .ronn", None, _XML,
        filenames="contents.lr",
    ),
    _language("reStructuredText", ".rst .rest .rst.txt .rest.txt", ".."),
    _language(
        "Text", ".txt",
        filenames="README LICENSE LICENCE COPYING COPYRIGHT NOTICE AUTHORS CONTRIBUTORS CHANGES CHANGELOG NEWS HISTORY "
        "INSTALL TODO THANKS FAQ BUGS VERSION",
    ),
)  # fmt: skip
"""What documentation is written in: it feeds the mix's English and Chinese domains."""
