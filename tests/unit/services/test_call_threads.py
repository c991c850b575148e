import subprocess
import sys

import pytest

USE = """
import threading
from repoloom_services.main import call_threads

begun = threading.Event()

def work():
    begun.set()
    {work}

with call_threads(1) as executor:
    executor.submit(work)
    begun.wait()
print("over")
"""


@pytest.mark.parametrize(("work", "said"), [("threading.Event().wait()", ""), ("pass", "over")])
def test_a_process_ends_in_spite_of_a_call_that_does_not(work: str, said: str) -> None:
    ended = subprocess.run([sys.executable, "-c", USE.format(work=work)], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0
    assert ended.stdout.strip() == said
