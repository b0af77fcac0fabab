"""Run a peer's script in this process and print, as a last line, what it cost: `measured.py SCRIPT ARGS...`."""

import json
import resource
import runpy
import sys

sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(
    json.dumps(
        {
            "cpu_s": round(sum(u.ru_utime + u.ru_stime for u in usage), 1),
            "peak_mb": round(max(u.ru_maxrss for u in usage) / 1024),
        }
    )
)
