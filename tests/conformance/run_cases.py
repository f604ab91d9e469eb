#!/usr/bin/env python3
# It runs alone, wherever there is a Python with PyYAML.
# ruff: noqa: PTH100, PTH113, PTH118, PTH119, PTH120, PTH122, PTH123, PTH207, UP031, RUF100
"""Run the conformance cases against a service that speaks Mistral's API v2.

    run_cases.py --url http://127.0.0.1:8989 [--case GLOB] [--area NAME]

Exit status 0 when every case passes; the closing line reads
'N passed, N failed'.  Differences in the wording of state_info and of error
messages are counted and, with -v, listed; they do not fail a case.
"""

import argparse
import collections
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import harness  # noqa: E402


def main(argv=None, default_roots=None):
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    ap.add_argument(
        "--url",
        default=os.environ.get("CONFORMANCE_URL"),
        help="base URL of the service (env CONFORMANCE_URL)",
    )
    ap.add_argument(
        "--cases",
        action="append",
        default=[],
        help="folder or file of cases (default: the cases folder next to this script)",
    )
    ap.add_argument(
        "--case", action="append", default=[], help="only cases whose name matches this glob"
    )
    ap.add_argument("--area", action="append", default=[], help="only cases of this area")
    ap.add_argument(
        "--skip",
        action="append",
        default=[],
        help="leave out cases that need this (e.g. javascript)",
    )
    ap.add_argument("--jobs", type=int, default=4)
    ap.add_argument("--patience", type=float, default=1.0, help="factor on every wait")
    ap.add_argument("--json", help="write all observations to this file")
    ap.add_argument("-v", "--verbose", action="store_true")
    ap.add_argument("-l", "--list", action="store_true", help="list the cases and stop")
    opts = ap.parse_args(argv)

    roots = opts.cases or default_roots or [os.path.join(HERE, "cases")]
    cases = [
        c
        for c in harness.find_cases(roots, opts.case, opts.area)
        if not set(opts.skip) & set(c.get("requires") or ())
    ]

    if opts.list:
        for c in cases:
            print("%-44s %-14s %s" % (c["case"], c.get("area", ""), c.get("about", "")))
        print("%d cases" % len(cases))
        return 0

    if not opts.url:
        ap.error("--url is needed")

    areas = collections.OrderedDict()

    def report(res):
        a = areas.setdefault(res.case.get("area", "?"), [0, 0])
        a[0 if res.passed else 1] += 1
        soft = len(res.diff.soft) if res.diff else 0
        if res.passed:
            if opts.verbose:
                print(
                    "ok    {} ({:.1f}s{})".format(
                        res.case["case"], res.seconds, ", %d wording" % soft if soft else ""
                    )
                )
        else:
            print("FAIL  {} ({})".format(res.case["case"], res.case.get("about", "")))
            if res.crash:
                print("      " + res.crash.strip().replace("\n", "\n      "))
            else:
                lines = res.diff.hard
                for d in lines if opts.verbose else lines[:6]:
                    print("      " + d)
                if len(lines) > 6 and not opts.verbose:
                    print("      ... %d more" % (len(lines) - 6))
        if opts.verbose and res.diff:
            for d in res.diff.soft:
                print("      ~ " + d)
        sys.stdout.flush()

    results = harness.run_many(opts.url, cases, opts.jobs, opts.patience, report)
    results.sort(key=lambda r: r.case["case"])

    if opts.json:
        with open(opts.json, "w") as f:
            json.dump(
                [
                    {
                        "case": r.case["case"],
                        "area": r.case.get("area"),
                        "passed": r.passed,
                        "crash": r.crash,
                        "got": r.got,
                        "differences": r.diff.hard if r.diff else [],
                        "wording": r.diff.soft if r.diff else [],
                        "seconds": round(r.seconds, 2),
                    }
                    for r in results
                ],
                f,
                indent=1,
                default=str,
            )

    good = sum(r.passed for r in results)
    soft = sum(len(r.diff.soft) for r in results if r.diff)
    print()
    for name in sorted(areas):
        print("%-16s %4d passed %4d failed" % (name, *areas[name]))
    print("%d differences of wording only" % soft)
    print("%d passed, %d failed" % (good, len(results) - good))
    return 0 if good == len(results) and results else 1


if __name__ == "__main__":
    sys.exit(main())
