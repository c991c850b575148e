import json
import sysconfig
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.licenses import canonicalize_license_expression

from repoloom.stages.crawl.license import _CLASSIFIERS, _DEBIAN, FINGERPRINTS, Evidence, identify

MIT = """Copyright (c) 2020 Somebody

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:
"""
NOTICE = """
The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.
"""
BSD = """Redistribution and use in source and binary forms, with or without
modification, are permitted provided that the following conditions are met:
"""
ENDORSE = "3. Neither the name of the X nor the names of its contributors may be used to endorse or promote products"
ISC = "Permission to use, copy, and/or distribute this software for any purpose with or without fee is hereby granted"
APPEAR = ", provided that the above copyright notice and this permission notice appear in all copies."


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (MIT + NOTICE, ["MIT"]),
        ("// " + (MIT + NOTICE).replace("\n", "\n// "), ["MIT"]),
        (MIT, ["MIT-0"]),
        (BSD, ["BSD-2-Clause"]),
        (BSD + ENDORSE, ["BSD-3-Clause"]),
        (ISC + APPEAR, ["ISC"]),
        (ISC + ".", ["0BSD"]),
        ("Apache License\n   Version 2.0, January 2004", ["Apache-2.0"]),
        ("GNU GENERAL PUBLIC LICENSE\n  Version 3, 29 June 2007", ["GPL-3.0-only"]),
        ("all rights reserved", []),
    ],
)
def test_a_licence_is_known_by_its_text(text: str, names: list[str]) -> None:
    assert identify(text.encode()) == names


def test_the_licence_files_of_installed_packages_are_known() -> None:
    packages = Path(sysconfig.get_path("purelib"))
    known = {"click": "BSD-3-Clause", "pydantic": "MIT", "packaging": "Apache-2.0"}
    for package, name in known.items():
        texts = [path.read_bytes() for path in packages.glob(f"{package}-*.dist-info/licenses/LICENSE*")]
        assert name in [found for text in texts for found in identify(text)]


def test_every_name_is_spdx() -> None:
    names = [name for name, _, _ in FINGERPRINTS] + list(_CLASSIFIERS.values()) + list(_DEBIAN.values())
    assert [name for name in names if canonicalize_license_expression(name) != name] == []


@pytest.mark.parametrize(
    ("files", "expression"),
    [
        ({"PKG-INFO": "Name: x\nLicense-Expression: mit OR apache-2.0\n\nText"}, "MIT OR Apache-2.0"),
        ({"PKG-INFO": "Name: x\nLicense: ISC\nClassifier: License :: OSI Approved :: MIT License\n"}, "ISC"),
        ({"PKG-INFO": "License: see file\nClassifier: License :: OSI Approved :: MIT License\n"}, "MIT"),
        ({"PKG-INFO": "License: UNKNOWN\n\nLicense-Expression: GPL-3.0-only"}, ""),
        ({"package.json": json.dumps({"license": "(MIT OR Apache-2.0)"})}, "MIT OR Apache-2.0"),
        ({"package.json": json.dumps({"licenses": [{"type": "MIT"}, {"type": "ISC"}]})}, "MIT OR ISC"),
        ({"package.json": json.dumps({"license": {"type": "ISC"}})}, "ISC"),
        ({"package.json": json.dumps({"license": "SEE LICENSE IN x"}), "LICENSE": MIT + NOTICE}, "MIT"),
        ({"package.json": "[" * 9999, "LICENSE": MIT + NOTICE}, "MIT"),
        ({"Cargo.toml": '[package]\nlicense = "MIT/Apache-2.0"\n'}, "MIT OR Apache-2.0"),
        ({"Cargo.toml": "not toml", "COPYING": MIT + NOTICE}, "MIT"),
        ({"pyproject.toml": '[project]\nlicense = {file = "LICENSE"}\n', "LICENSE": BSD}, "BSD-2-Clause"),
        ({"LICENSE-MIT": MIT + NOTICE, "LICENSE-APACHE": "Apache License Version 2.0"}, "Apache-2.0 AND MIT"),
        ({"debian/copyright": "Files: *\nCopyright: x\nLicense: GPL-2+ or Expat\n\nFiles: debian/*\nLicense: ISC\n"},
         "GPL-2.0-or-later OR MIT"),
        ({"debian/copyright": "Files: *\nLicense: Apache-2.0\n"}, "Apache-2.0"),
        ({"debian/copyright": "no machine can read this"}, ""),
        ({"a.c": "/* SPDX-License-Identifier: MIT OR GPL-2.0-only */\n", "b.c": "// SPDX-License-Identifier: ISC\n"},
         "ISC AND (MIT OR GPL-2.0-only)"),
        ({"vendor/LICENSE": MIT + NOTICE}, ""),
        ({}, ""),
    ],
)  # fmt: skip
def test_metadata_comes_before_texts_and_texts_before_headers(files: dict[str, str], expression: str) -> None:
    evidence = Evidence()
    for path, text in files.items():
        evidence.see(path, text.encode())
    assert evidence.expression() == expression


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                ["PKG-INFO", "package.json", "Cargo.toml", "pyproject.toml", "debian/copyright", "LICENSE", "a.c"]
            ),
            st.binary()
            | st.text().map(str.encode)
            | st.from_regex(rb"(Files: \*\n|License: .*\n|SPDX-License-Identifier:.*){3}"),
        )
    )
)
def test_whatever_files_hold_the_answer_is_an_expression_or_nothing(files: list[tuple[str, bytes]]) -> None:
    evidence = Evidence()
    for path, content in files:
        evidence.see(path, content)
    expression = evidence.expression()
    assert expression == "" or canonicalize_license_expression(expression)
