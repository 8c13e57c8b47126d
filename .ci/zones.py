"""Prints where the zones of a program (tests/zones) and of Python's zoneinfo differ. Exits with 1 if they do on equal data."""

import concurrent.futures
import datetime
import pathlib
import subprocess
import sys
import zoneinfo

import tzdata

DAYS = 400
SHOWN = 20

program = sys.argv[1]
first = datetime.date.today()
package = pathlib.Path(tzdata.__file__).parent
names = (package / "zones").read_text().split()


def slots():
    """Every half-hour slot: its name, and its wall-clock time as the first and as the second of two equal ones."""
    for day in range(DAYS):
        date = first + datetime.timedelta(days=day)
        for slot in range(48):
            time = datetime.datetime.combine(date, datetime.time(slot // 2, slot % 2 * 30))
            yield f"{time:%Y-%m-%d %H:%M}", time, time.replace(fold=1)


def expected(zone, slots):
    """What the program should print of a zone. Of two equal times the first counts."""
    before = None
    for name, time, repeated in slots:
        offset = zone.utcoffset(time)
        # Before a skipped time the clock is further behind UTC than after it (PEP 495).
        if offset < zone.utcoffset(repeated):
            offset = "skipped"
        if offset != before:
            seconds = offset if offset == "skipped" else int(offset.total_seconds())
            yield f"{zone.key} {name} {seconds}"
        before = offset


def start(folder):
    """Starts the program on the zone files of a folder, or on its `compiled-in` data."""
    command = [program, str(folder), str(first), str(DAYS)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def printed(process):
    """The program's lines, and the release of the data that is compiled in."""
    version, *lines = process.communicate("\n".join(names))[0].splitlines()
    if process.returncode:
        sys.exit(f"{program} ended with {process.returncode}")
    return version.removeprefix("# compiled in "), lines


def compare(lines):
    """The lines that only the program (+) or only Python (-) has, by zone and time."""
    ours, theirs = set(lines), set(python)
    extra = [f"+ {line}" for line in lines if line not in theirs]
    missing = [f"- {line}" for line in python if line not in ours]
    return sorted(extra + missing, key=lambda line: line[2:])


zoneinfo.reset_tzpath(to=[])
calendar = list(slots())
with concurrent.futures.ThreadPoolExecutor() as pool:
    runs = [pool.submit(printed, start(folder)) for folder in ["compiled-in", package / "zoneinfo"]]
    python = [line for name in names for line in expected(zoneinfo.ZoneInfo(name), calendar)]
    (compiled_in, own_lines), (_, file_lines) = (run.result() for run in runs)

print(f"{len(names)} zones, {DAYS} days from {first}, tzdata {tzdata.IANA_VERSION} of PyPI")
zones = sorted({line.split()[1] for line in compare(own_lines)})
print(f"compiled-in data {compiled_in}: {', '.join(zones) + ' differ' if zones else 'no zone differs'}")
differences = compare(file_lines)
print("\n".join(differences[:SHOWN]) or "zone files: no zone differs")
sys.exit(1 if differences else 0)
