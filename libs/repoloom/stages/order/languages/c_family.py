"""C, C++ and CUDA: include directives, resolved beside the including file and then by the nearest path that ends so."""

import posixpath
import re
from collections.abc import Iterator, Mapping

from repoloom.stages.order.languages.lexing import COMMENT, DOUBLE_QUOTED, SINGLE_QUOTED, Lines, text
from repoloom.stages.order.languages.rules import Edge, Import, Scan
from repoloom.stages.order.tree import MAX_DEPTH, Nearest, Tree, folder_of, join

LANGUAGES = frozenset({"C", "C++", "CUDA"})

_TOKEN = re.compile(
    rb"\n[ \t]*+#[ \t]*+(?:include|include_next|import)[ \t]*+(?:\"(?P<quoted>[^\"\n]++)\"|<(?P<angled>[^>\n]++)>)"
    rb"|" + COMMENT
    + rb'|R"(?P<fence>[^()\\\s"]{0,16}+)\((?:.*?\)(?P=fence)"|.*+)'
    + rb"|" + DOUBLE_QUOTED + rb"|" + SINGLE_QUOTED,
    re.DOTALL,
)  # fmt: skip

# ISO C 7.1.2 and POSIX.1-2017 chapter 13
_SYSTEM_HEADERS = """
assert.h complex.h ctype.h errno.h fenv.h float.h inttypes.h iso646.h limits.h locale.h math.h setjmp.h signal.h
stdalign.h stdarg.h stdatomic.h stdbool.h stddef.h stdint.h stdio.h stdlib.h stdnoreturn.h string.h tgmath.h threads.h
time.h uchar.h wchar.h wctype.h aio.h cpio.h dirent.h dlfcn.h fcntl.h fmtmsg.h fnmatch.h ftw.h glob.h grp.h iconv.h
langinfo.h libgen.h monetary.h mqueue.h ndbm.h netdb.h nl_types.h poll.h pthread.h pwd.h regex.h sched.h search.h
semaphore.h spawn.h strings.h stropts.h syslog.h tar.h termios.h trace.h ulimit.h unistd.h utime.h utmpx.h wordexp.h
arpa/inet.h net/if.h netinet/in.h netinet/tcp.h sys/ipc.h sys/mman.h sys/msg.h sys/resource.h sys/select.h sys/sem.h
sys/shm.h sys/socket.h sys/stat.h sys/statvfs.h sys/time.h sys/times.h sys/types.h sys/uio.h sys/un.h sys/utsname.h
sys/wait.h
"""
_SYSTEM = frozenset(_SYSTEM_HEADERS.split())


def scan(content: bytes) -> Scan:
    """Targets as written; kinds "include" for quotes and "system" for angle brackets."""
    return Scan(list(_imports(content)))


def _imports(content: bytes) -> Iterator[Import]:
    content = b"\n" + content  # every directive follows a line break
    lines = Lines(content)
    for found in _TOKEN.finditer(content):
        if quoted := found["quoted"]:
            yield Import(text(quoted), lines.at(found.start()), "include")
        elif angled := found["angled"]:
            yield Import(text(angled.strip()), lines.at(found.start()), "system")


class Index:
    """Files by those ends of their paths that some directive names."""

    def __init__(self, tree: Tree, scans: Mapping[str, Scan]) -> None:
        self._tree = tree
        self._ends = Nearest()
        wanted = {_end(item.target) for scan in scans.values() for item in scan.imports}
        for path in tree.files:
            end = path
            for _ in range(MAX_DEPTH):
                if end in wanted:
                    self._ends.add(end, path)
                _, slash, end = end.partition("/")
                if not slash:
                    break

    def edges(self, importer: str, scan: Scan) -> Iterator[Edge]:
        for target, line, kind in scan.imports:
            beside = join(folder_of(importer), target) if kind == "include" else None
            if beside is not None and beside in self._tree:
                yield Edge(importer, beside, line, "relative")
            elif kind == "system" and target in _SYSTEM:
                continue
            elif path := self._ends.find(_end(target), importer):
                yield Edge(importer, path, line, "include-path")


def _end(target: str) -> str:
    """The part of a target that ends a path, whatever folder it is seen from: `../a/./b.h` is `a/b.h`."""
    return posixpath.normpath("/" + target.lstrip("/")).lstrip("/")
