"""Files that a repository carries but did not write: dependencies, build systems' boilerplate, known libraries.

Folders and names follow Linguist's vendor.yml in substance. Left out are those that hold a project's own work as often
as not (`cache/`, `testdata/`, `.github/`, `Vagrantfile`, ...).
"""

import re

_FOLDERS = frozenset(
    """
    node_modules bower_components jspm_packages .yarn flow-typed
    vendor vendors vendored _vendor _vendored
    third_party third-party thirdparty 3rdparty 3rd_party 3rd-party extern external externals
    site-packages dist-packages .venv venv .tox .eggs __pypackages__
    dist _static _build
    godeps pods carthage jars
    ace-builds ckeditor codemirror extjs mathjax tiny_mce tinymce admin_media font-awesome bourbon
    """.split()  # noqa: SIM905
)
"""Of any depth, in lower case."""

_NAMES = frozenset(
    """
    configure config.guess config.sub aclocal.m4 libtool.m4 ltoptions.m4 ltsugar.m4 ltversion.m4 lt~obsolete.m4
    ltmain.sh install-sh depcomp missing compile mkinstalldirs
    gradlew gradlew.bat mvnw mvnw.cmd dotnet-install.sh dotnet-install.ps1
    cpplint.py waf erlang.mk rebar ppport.h versioneer.py ez_setup.py
    catch.hpp doctest.h stb_image.h sqlite3.c sqlite3.h miniz.c uthash.h
    """.split()  # noqa: SIM905
)

# jquery.js, jquery-ui-1.12.css, bootstrap.bundle.js, d3.v4.js, ...: a known name, then only versions and flavours.
_LIBRARIES = re.compile(
    r"(?:jquery|bootstrap|d3|angular|react|vue|ember|backbone|underscore|lodash|modernizr|mootools|prototype|scriptaculous"
    r"|knockout|dojo|yui|raphael|require|handlebars|mustache|moment|three|leaflet|highlight|prism|ckeditor|select2|chart"
    r"|html5shiv|respond|normalize|animate|foundation|materialize|bulma|skeleton|font-?awesome|cordova|phonegap|swagger-ui)"
    r"(?:[-._](?:\d+|v\d+|ui|core|dom|all|full|bundle|slim|custom|compat|theme|grid|reboot|responsive|debug|pack(?:ed)?|src"
    r"|production|development|umd|global|runtime|dataTables|validate|fileupload|fancybox|cookie|form|easing|mobile))*"
    r"\.(?:js|css|scss|less)",
    re.IGNORECASE,
)


def vendored(path: str) -> str | None:
    """The folder or name that shows that a file is somebody else's; None where nothing does."""
    folders, _, name = path.rpartition("/")
    if folders:
        for folder in folders.lower().split("/"):
            if folder in _FOLDERS:
                return f"{folder}/"
    if name in _NAMES or _LIBRARIES.fullmatch(name):
        return name
    return None
