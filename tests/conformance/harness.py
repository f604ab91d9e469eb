# It runs alone, wherever there is a Python with PyYAML.
# ruff: noqa: N815, PTH100, PTH113, PTH118, PTH119, PTH120, PTH122, PTH123, PTH207, UP031, RUF100
"""Black-box conformance harness for services that speak Mistral's REST API v2.

A case is one YAML file: definitions, steps, and the result that the real
Mistral gave (`recorded`).  The harness plays the case against a base URL over
HTTP only, normalises what it observes and compares it with the record.  Needs
nothing but the standard library and PyYAML.
"""

import collections
import contextlib
import fnmatch
import glob
import http.server
import json
import os
import re
import threading
import time
import traceback
import urllib.error
import urllib.parse
import urllib.request

import yaml

TERMINAL = ("SUCCESS", "ERROR", "CANCELLED")
COLLECTIONS = (
    "workflows",
    "workbooks",
    "actions",
    "environments",
    "executions",
    "action_executions",
    "cron_triggers",
    "event_triggers",
    "dynamic_actions",
    "code_sources",
)

UUID = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-"
    r"[0-9a-f]{12}",
    re.I,
)
STAMP = re.compile(
    r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?"
    r"(Z|[+-]\d\d:?\d\d)?"
)
TRACEBACK = re.compile(r"Traceback \(most recent call last\):.*", re.S)
LIBRARY = re.compile(r"(/[\w.@+-]+)+/lib/python3\.\d+/(site-packages/)?")
ADDRESS = re.compile(r"0x[0-9a-f]{6,}")
ELAPSED = re.compile(r"""(['"]elapsed['"]: )[0-9.e-]+""")
MD5 = re.compile(r"^[0-9a-f]{32}$")

# Text that the engine itself writes into results and outputs.  Two such
# texts need not agree word for word.
ENGINE_TEXT = re.compile(
    r"action_ex_id=|task_ex_id=|wf_ex_id|[Ff]ailure caused by error|"
    r"The action raised|Can not evaluate|Failed to |Workflow failed|"
    r"timed out|Traceback|Unable to |Invalid input|Invalid result|"
    r"Execution of workflow|Task is waiting|is not JSON|Cancelled|cancelled|"
    r"Force failing|error: "
)


# --------------------------------------------------------------------- HTTP


class Reply:
    def __init__(self, status, headers, raw):
        self.status = status
        self.headers = headers
        self.raw = raw
        self.text = raw.decode("utf-8", "replace")
        try:
            self.body = json.loads(self.text)
        except ValueError:
            self.body = self.text

    @property
    def ctype(self):
        return (self.headers.get("Content-Type") or "").split(";")[0].strip()


class Rest:
    def __init__(self, url):
        url = url.rstrip("/")
        self.base = url[:-3] if url.endswith("/v2") else url
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def call(self, method, path, body=None, ctype=None, headers=None, timeout=90):
        url = self.base + path
        data = None
        headers = dict(headers or {})
        if body is not None:
            if isinstance(body, (bytes, str)):
                data = body.encode() if isinstance(body, str) else body
                ctype = ctype or "text/plain"
            else:
                data = json.dumps(body).encode()
                ctype = ctype or "application/json"
            headers.setdefault("Content-Type", ctype)
        req = urllib.request.Request(url, data=data, method=method, headers=headers)
        try:
            with self.opener.open(req, timeout=timeout) as r:
                return Reply(r.status, r.headers, r.read())
        except urllib.error.HTTPError as e:
            return Reply(e.code, e.headers, e.read())

    def get(self, path):
        return self.call("GET", path)


# ------------------------------------------------- the local HTTP test server


class Peer:
    """A small HTTP server for std.http and for notification web hooks."""

    def __init__(self):
        self.hooks = collections.defaultdict(list)
        self.counts = collections.Counter()
        peer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.0"

            def log_message(self, *a):
                pass

            def reply(self, status, body, ctype="application/json", extra=()):
                data = (
                    body if isinstance(body, str) else json.dumps(body, sort_keys=True)
                ).encode()
                self.send_response_only(status)
                self.send_header("Content-Type", ctype)
                self.send_header("Content-Length", str(len(data)))
                for k, v in extra:
                    self.send_header(k, v)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)

            def serve(self):
                u = urllib.parse.urlsplit(self.path)
                n = int(self.headers.get("Content-Length") or 0)
                raw = self.rfile.read(n).decode("utf-8", "replace")
                parts = u.path.strip("/").split("/")
                if parts[0] == "hook":
                    try:
                        peer.hooks[parts[1]].append(json.loads(raw))
                    except ValueError:
                        peer.hooks[parts[1]].append(raw)
                    self.reply(200, {})
                elif parts[0] == "echo":
                    h = {
                        k.lower(): v
                        for k, v in self.headers.items()
                        if k.lower().startswith("x-") or k.lower() in ("authorization", "cookie")
                    }
                    ct = self.headers.get("Content-Type")
                    try:
                        val = json.loads(raw)
                    except ValueError:
                        val = raw
                    self.reply(
                        200,
                        {
                            "method": self.command,
                            "body": val,
                            "headers": h,
                            "content_type": ct,
                            "query": dict(urllib.parse.parse_qsl(u.query)),
                        },
                    )
                elif parts[0] == "status":
                    self.reply(int(parts[1]), {"asked": int(parts[1])})
                elif parts[0] == "text":
                    self.reply(200, "plain words", "text/plain")
                elif parts[0] == "empty":
                    self.reply(204, "", "text/plain")
                elif parts[0] == "slow":
                    time.sleep(float(parts[1]))
                    self.reply(200, {"slept": parts[1]})
                elif parts[0] == "redirect":
                    self.reply(302, "", "text/plain", [("Location", "/json")])
                elif parts[0] == "flaky":
                    # /flaky/KEY/N: the first N calls fail with 503.
                    peer.counts[parts[1]] += 1
                    ok = peer.counts[parts[1]] > int(parts[2])
                    self.reply(200 if ok else 503, {"ok": ok})
                elif parts[0] == "count":
                    peer.counts[parts[1]] += 1
                    self.reply(200, {"n": peer.counts[parts[1]]})
                elif parts[0] == "failafter":
                    # /failafter/KEY/N: works N times, then 500.
                    peer.counts[parts[1]] += 1
                    ok = peer.counts[parts[1]] <= int(parts[2])
                    self.reply(200 if ok else 500, {"n": peer.counts[parts[1]]})
                else:
                    self.reply(200, {"name": "peer", "items": [1, 2, 3]})

            do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = serve
            do_OPTIONS = serve

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *a: None
        self.url = "http://127.0.0.1:%d" % self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


# ------------------------------------------------------------ normalisation


def as_json(v, default=None):
    """The API gives several fields as JSON text."""
    if isinstance(v, str):
        try:
            return json.loads(v)
        except ValueError:
            return v
    return default if v is None else v


def canon(v):
    return json.dumps(v, sort_keys=True, default=str)


class Scrubber:
    def __init__(self, subs=()):
        self.subs = [(a, b) for a, b in subs if a]

    def text(self, s):
        for a, b in self.subs:
            s = s.replace(a, b)
        s = UUID.sub("<id>", s)
        s = TRACEBACK.sub("Traceback (left out)", s)
        s = LIBRARY.sub("<lib>/", s)
        s = ADDRESS.sub("0x0", s)
        s = ELAPSED.sub(r"\1<seconds>", s)
        return STAMP.sub("<time>", s)

    def __call__(self, v, key=None):
        if isinstance(v, dict):
            out = {}
            for k, x in v.items():
                if k == "project_id" and isinstance(x, str):
                    out[k] = "<project>"
                elif k == "elapsed" and isinstance(x, (int, float)):
                    out[k] = "<seconds>"
                elif k == "checksum" and isinstance(x, str) and MD5.match(x):
                    out[k] = "<checksum>"
                elif k == "next" and isinstance(x, str):
                    out[k] = self.link(x)
                else:
                    out[self.text(k)] = self(x, k)
            return out
        if isinstance(v, list):
            return [self(x) for x in v]
        if isinstance(v, str):
            return self.text(v)
        return v

    def link(self, s):
        u = urllib.parse.urlsplit(self.text(s).replace("<base>", ""))
        return {
            "path": u.path,
            "query": dict(sorted(urllib.parse.parse_qsl(u.query, keep_blank_values=True))),
        }


class Observer:
    """Reads an execution and everything under it."""

    def __init__(self, rest, scrub):
        self.rest = rest
        self.scrub = scrub

    def _list(self, path, key):
        r = self.rest.get(path)
        return r.body.get(key, []) if r.status == 200 else []

    def action_execution(self, a):
        if "output" not in a or a.get("output") is None:
            r = self.rest.get("/v2/action_executions/" + a["id"])
            if r.status == 200:
                a = r.body
        out = as_json(a.get("output"), {})
        return {
            "name": a.get("name"),
            "state": a.get("state"),
            "accepted": a.get("accepted"),
            "input": self.scrub(as_json(a.get("input"), {})),
            "output": self.scrub(out),
        }

    def task(self, t, depth):
        r = self.rest.get("/v2/tasks/" + t["id"])
        if r.status == 200:
            t = r.body
        out = {
            "name": t["name"],
            "type": t.get("type"),
            "state": t["state"],
            "state_info": self.scrub(t.get("state_info")),
            "result": self.scrub(as_json(t.get("result"))),
            "published": self.scrub(as_json(t.get("published"), {})),
        }
        pg = as_json(t.get("published_global"), {})
        if pg:
            out["published_global"] = self.scrub(pg)
        acts = [
            self.action_execution(a)
            for a in self._list(
                "/v2/tasks/{}/action_executions?include_output=true".format(t["id"]),
                "action_executions",
            )
        ]
        if acts:
            out["actions"] = sorted(acts, key=canon)
        if t.get("type") == "WORKFLOW" and depth < 6:
            subs = [
                self.tree(e["id"], depth + 1)
                for e in self._list(
                    "/v2/tasks/{}/workflow_executions".format(t["id"]), "executions"
                )
            ]
            if subs:
                out["executions"] = sorted(subs, key=canon)
        return out

    def tree(self, ex_id, depth=0):
        r = self.rest.get("/v2/executions/" + ex_id)
        if r.status != 200:
            return {"missing": r.status}
        e = r.body
        out = {
            "workflow": e["workflow_name"],
            "namespace": e.get("workflow_namespace") or "",
            "state": e["state"],
            "state_info": self.scrub(e.get("state_info")),
            "input": self.scrub(as_json(e.get("input"), {})),
            "output": self.scrub(as_json(e.get("output"), {})),
            "params": self.scrub(as_json(e.get("params"), {})),
        }
        if e.get("description"):
            out["description"] = self.scrub(e["description"])
        pg = as_json(e.get("published_global"), {})
        if pg:
            out["published_global"] = self.scrub(pg)
        tasks = [self.task(t, depth) for t in self._list(f"/v2/executions/{ex_id}/tasks", "tasks")]
        out["tasks"] = sorted(tasks, key=lambda t: (t["name"], canon(t)))
        return out

    def settled_tree(self, ex_id, limit=6.0, gap=0.35):
        """The tree, once two readings in a row agree."""
        end = time.time() + limit
        last = self.tree(ex_id)
        while time.time() < end:
            time.sleep(gap)
            now = self.tree(ex_id)
            if now == last:
                break
            last = now
        return last


# ------------------------------------------------------------------- playing


class Abort(Exception):
    pass


def definition_names(kind, text):
    try:
        doc = yaml.safe_load(re.sub(r"\$\{(\w+)\}", r"\1", text))
    except yaml.YAMLError:
        return []
    if not isinstance(doc, dict):
        return []
    if kind in ("workbook", "environment"):
        return [doc["name"]] if isinstance(doc.get("name"), str) else []
    return [k for k in doc if k != "version" and isinstance(k, str)]


def shape(v):
    """Replace every leaf by the name of its JSON type."""
    if isinstance(v, dict):
        return {k: shape(x) for k, x in v.items()}
    if isinstance(v, list):
        kinds = {canon(shape(x)): shape(x) for x in v}
        return [kinds[k] for k in sorted(kinds)]
    if v is None:
        return "null"
    if isinstance(v, bool):
        return "bool"
    if isinstance(v, (int, float)):
        return "number"
    return "string"


def dig(v, path):
    for part in str(path).split("."):
        if part == "":
            continue
        if isinstance(v, str):
            v = as_json(v)
        if isinstance(v, list):
            if part == "#":
                v = len(v)
                continue
            if part.startswith("*"):
                rest = part[1:]
                v = [x.get(rest) for x in v]
                continue
            v = v[int(part)] if int(part) < len(v) else None
        elif isinstance(v, dict):
            v = v.get(part)
        else:
            return None
    return v


class Player:
    def __init__(self, rest, case, peer, patience=1.0):
        self.rest = rest
        self.case = case
        self.peer = peer
        self.patience = patience
        self.vars = {
            "HTTP": peer.url,
            "BASE": rest.base,
            "KEY": "k%x" % (time.time_ns() & 0xFFFFFFFFFFFF),
        }
        self.ids = collections.OrderedDict()
        self.created = []
        self.scrub = Scrubber(
            [
                (rest.base, "<base>"),
                (peer.url, "<http>"),
                (self.vars["KEY"], "<key>"),
                ("port=" + peer.url.rsplit(":", 1)[1], "port=<port>"),
            ]
        )
        self.look = Observer(rest, self.scrub)
        self.timeout = case.get("timeout", 60) * patience

    # ---- substitution of ${name}

    def fill(self, v):
        if isinstance(v, str):
            m = re.match(r"^\$\{(\w+)\}$", v)
            if m and m.group(1) in self.vars:
                return self.vars[m.group(1)]
            return re.sub(r"\$\{(\w+)\}", lambda m: str(self.vars.get(m.group(1), m.group(0))), v)
        if isinstance(v, dict):
            return {self.fill(k): self.fill(x) for k, x in v.items()}
        if isinstance(v, list):
            return [self.fill(x) for x in v]
        return v

    # ---- helpers

    def error(self, r):
        out = {"status": r.status}
        if r.status >= 400:
            if isinstance(r.body, dict):
                if r.body.get("faultcode") is not None:
                    out["faultcode"] = r.body["faultcode"]
                out["error"] = self.scrub(r.body.get("faultstring") or canon(r.body))
            else:
                out["error"] = self.scrub(r.text[:400])
        return out

    def note_created(self, path, r):
        if r.status != 201 or not isinstance(r.body, dict):
            return
        coll = path.split("?")[0].strip("/").split("/")
        if len(coll) < 2 or coll[1] not in COLLECTIONS:
            return
        coll = coll[1]
        items = r.body.get(coll)
        if items is None:
            items = [r.body]
        for i in items:
            ident = i.get("id") or i.get("name")
            ns = i.get("namespace") or ""
            if coll in ("workbooks", "environments", "cron_triggers"):
                ident = i.get("name")
            self.created.append((coll, ident, ns))

    def remove(self, coll, ident, ns=""):
        q = []
        if ns:
            q.append("namespace=" + urllib.parse.quote(ns))
        if coll == "executions":
            q.append("force=true")
        self.rest.call(
            "DELETE",
            "/v2/{}/{}{}".format(
                coll, urllib.parse.quote(str(ident)), "?" + "&".join(q) if q else ""
            ),
        )

    def cleanup(self):
        for ex_id in reversed(list(self.ids.values())):
            with contextlib.suppress(Exception):
                self.remove("executions", ex_id)
        order = {"cron_triggers": 0, "event_triggers": 0, "executions": 1, "workbooks": 2}
        done = set()
        for coll, ident, ns in sorted(self.created, key=lambda c: order.get(c[0], 3)):
            if (coll, ident, ns) in done:
                continue
            done.add((coll, ident, ns))
            with contextlib.suppress(Exception):
                self.remove(coll, ident, ns)

    def execution_id(self, ref):
        """`main`, or `main/task`, `main/task#1/inner` for sub-executions."""
        parts = str(ref or "main").split("/")
        if parts[0] not in self.ids:
            raise Abort(f"no execution called {parts[0]!r}")
        ex = self.ids[parts[0]]
        for part in parts[1:]:
            name, _, n = part.partition("#")
            t = self.tasks_named(ex, name)[-1]
            subs = self.look._list("/v2/tasks/{}/workflow_executions".format(t["id"]), "executions")
            subs.sort(
                key=lambda e: (as_json(e.get("params"), {}).get("index", 0), e.get("created_at"))
            )
            ex = subs[int(n or 0)]["id"]
        return ex

    def tasks_named(self, ex_id, name):
        out = [
            t
            for t in self.look._list(f"/v2/executions/{ex_id}/tasks", "tasks")
            if t["name"] == name
        ]
        if not out:
            raise Abort(f"no task called {name!r}")
        return sorted(out, key=lambda t: t.get("created_at") or "")

    def poll(self, fn, timeout):
        end = time.time() + timeout
        gap = 0.08
        while True:
            v = fn()
            if v is not None:
                return v
            if time.time() > end:
                return None
            time.sleep(gap)
            gap = min(gap * 1.4, 0.4)

    # ---- definitions

    def define(self, d):
        kind = d["kind"]
        text = self.fill(d["text"])
        ns = d.get("namespace", "")
        coll = kind + "s"
        if kind == "environment":
            body = d["text"] if isinstance(d["text"], dict) else yaml.safe_load(text)
            body = self.fill(body)
            self.remove(coll, body.get("name"))
            r = self.rest.call("POST", "/v2/environments", body)
        else:
            if kind == "workbook":
                names = definition_names(kind, text)
                try:
                    doc = yaml.safe_load(text)
                    for sub in ("workflows", "actions"):
                        for k in doc.get(sub) or {}:
                            self.remove(sub, "{}.{}".format(doc["name"], k), ns)
                except Exception:
                    pass
            else:
                names = definition_names(kind, text)
            for n in names:
                self.remove(coll, n, ns)
            q = {k: d[k] for k in ("namespace", "scope") if d.get(k)}
            path = "/v2/" + coll + ("?" + urllib.parse.urlencode(q) if q else "")
            r = self.rest.call("POST", path, text)
        self.note_created("/v2/" + coll, r)
        if kind == "workbook" and r.status == 201:
            doc = yaml.safe_load(text)
            for sub in ("workflows", "actions"):
                for k in doc.get(sub) or {}:
                    if k != "version":
                        self.created.append((sub, "{}.{}".format(doc["name"], k), ns))
        out = self.error(r)
        if r.status == 201 and isinstance(r.body, dict):
            if coll in r.body:
                out["names"] = sorted(i["name"] for i in r.body[coll])
            else:
                out["names"] = [r.body.get("name")]
        return out

    # ---- steps

    def do_start(self, s):
        body = {}
        if s.get("workflow") is not None:
            body["workflow_name"] = s["workflow"]
        for k in ("input", "params", "description", "source_execution_id", "workflow_id"):
            if k in s:
                body[k] = s[k]
        if "namespace" in s:
            body["workflow_namespace"] = s["namespace"]
        if "from" in s:
            body["source_execution_id"] = self.ids[s["from"]]
        r = self.rest.call("POST", "/v2/executions", self.fill(body))
        if r.status == 201:
            self.ids[s.get("as", "main")] = r.body["id"]
        return self.error(r)

    def do_wait(self, s):
        states = s.get("state", TERMINAL)
        states = [states] if isinstance(states, str) else list(states)
        root = str(s.get("ex") or "main").split("/")[0]
        ex = self.poll(lambda: self._safe_id(s.get("ex")), 15) if root in self.ids else None
        if ex is None:
            raise Abort("no execution %r" % (s.get("ex") or "main"))

        def probe():
            r = self.rest.get("/v2/executions/" + ex)
            if r.status == 200 and r.body["state"] in states:
                return r.body["state"]
            return None

        got = self.poll(probe, s.get("timeout", self.timeout))
        if got is None:
            r = self.rest.get("/v2/executions/" + ex)
            return {"state": r.body.get("state"), "timed_out": True}
        return {"state": got}

    def _safe_id(self, ref):
        try:
            return self.execution_id(ref)
        except (Abort, IndexError):
            return None

    def do_wait_task(self, s):
        states = s.get("state", TERMINAL)
        states = [states] if isinstance(states, str) else list(states)

        def probe():
            ex = self._safe_id(s.get("ex"))
            if ex is None:
                return None
            try:
                ts = self.tasks_named(ex, s["task"])
            except Abort:
                return None
            hits = [t["state"] for t in ts if t["state"] in states]
            return hits[-1] if len(hits) >= s.get("count", 1) else None

        got = self.poll(probe, s.get("timeout", self.timeout))
        return {"state": got} if got else {"timed_out": True}

    def _actions(self, s):
        ex = self.execution_id(s.get("ex"))
        out = []
        for t in self.tasks_named(ex, s["task"]):
            out += self.look._list(
                "/v2/tasks/{}/action_executions".format(t["id"]), "action_executions"
            )
        want = s.get("when", "RUNNING")
        out = [a for a in out if want == "ANY" or a["state"] == want]
        if "match" in s:
            out = [a for a in out if canon(s["match"]) in canon(as_json(a.get("input"), {}))]
        return sorted(
            out, key=lambda a: (canon(as_json(a.get("input"))), a.get("created_at") or "")
        )

    def do_wait_action(self, s):
        def probe():
            try:
                n = len(self._actions(s))
            except (Abort, IndexError):
                return None
            return n if n >= s.get("count", 1) else None

        got = self.poll(probe, s.get("timeout", self.timeout))
        return {"found": True} if got else {"timed_out": True}

    def do_complete(self, s):
        """Give an asynchronous action its result."""
        got = self.poll(lambda: self._first(s), 15)
        if not got:
            raise Abort(f"no running action for {s!r}")
        a = got[min(s.get("index", 0), len(got) - 1)]
        body = {"state": s.get("state", "SUCCESS")}
        if "output" in s:
            body["output"] = self.fill(s["output"])
        r = self.rest.call("PUT", "/v2/action_executions/" + a["id"], body)
        out = self.error(r)
        if r.status == 200:
            out["state"] = r.body.get("state")
        return out

    def _first(self, s):
        try:
            acts = self._actions(s)
        except (Abort, IndexError):
            return None
        return acts if len(acts) > s.get("index", 0) else None

    def do_update(self, s):
        ex = self.execution_id(s.get("ex"))
        body = {
            k: self.fill(s[k]) for k in ("state", "state_info", "description", "params") if k in s
        }
        r = self.rest.call("PUT", "/v2/executions/" + ex, body)
        out = self.error(r)
        if r.status == 200 and s.get("show", True):
            out["state"] = r.body.get("state")
        return out

    def _task_put(self, s, state, reset):
        ex = self.execution_id(s.get("ex"))
        want = s.get("when")
        ts = [t for t in self.tasks_named(ex, s["task"]) if not want or t["state"] == want]
        t = ts[-1] if s.get("pick", "last") == "last" else ts[0]
        body = {"id": t["id"], "name": t["name"], "state": state, "reset": reset}
        if "env" in s:
            body["env"] = s["env"]
        r = self.rest.call("PUT", "/v2/tasks/" + t["id"], body)
        return self.error(r)

    def do_rerun(self, s):
        return self._task_put(s, s.get("state", "RUNNING"), s.get("reset", True))

    def do_skip(self, s):
        return self._task_put(s, "SKIPPED", s.get("reset", True))

    def do_sleep(self, s):
        time.sleep(s if isinstance(s, (int, float)) else s["seconds"])

    def do_snapshot(self, s):
        s = s or {}
        ex = self.execution_id(s.get("ex"))
        return {"tree": self.look.settled_tree(ex)}

    def do_define(self, s):
        return self.define(s)

    def do_validate(self, s):
        coll = s["kind"] + "s"
        text = self.fill(s["text"])
        r = self.rest.call("POST", f"/v2/{coll}/validate", text)
        out = self.error(r)
        if r.status == 200:
            out["valid"] = r.body.get("valid")
            if not r.body.get("valid"):
                out["error"] = self.scrub(r.body.get("error"))
        return out

    def do_action(self, s):
        """Run one action by itself through /v2/action_executions."""
        body = {"name": s["name"], "input": self.fill(s.get("input", {}))}
        if "params" in s:
            body["params"] = s["params"]
        for k in ("description", "workflow_namespace"):
            if k in s:
                body[k] = s[k]
        r = self.rest.call("POST", "/v2/action_executions", body)
        out = self.error(r)
        if r.status == 201:
            b = r.body
            self.vars["action_id"] = b.get("id")
            out["state"] = b.get("state")
            out["output"] = self.scrub(as_json(b.get("output")))
        return out

    def do_hooks(self, s):
        """What arrived at the web hook `${HTTP}/hook/NAME`."""
        name = self.fill(s["name"])
        want = s.get("count", 1)
        self.poll(
            lambda: True if len(self.peer.hooks[name]) >= want else None, s.get("timeout", 15)
        )
        time.sleep(0.3)
        got = []
        for h in self.peer.hooks[name]:
            if isinstance(h, dict):
                h = {k: h[k] for k in s.get("fields", ("event", "name", "state", "type")) if k in h}
            got.append(self.scrub(h))
        return {"events": sorted(got, key=canon)}

    def do_http(self, s):
        path = self.fill(s["path"])
        body = None
        if "text" in s:
            body = self.fill(s["text"])
        elif "json" in s:
            body = self.fill(s["json"])
        ctype = s.get("ctype")
        if "raw" in s:
            body = s["raw"]
        method = s.get("method", "GET")
        r = self.rest.call(method, path, body, ctype, self.fill(s.get("headers")))
        if method == "POST":
            self.note_created(path, r)
            if r.status == 201 and path.startswith("/v2/executions"):
                self.ids.setdefault(s.get("as", "http%d" % len(self.ids)), r.body["id"])
        for name, p in (s.get("save") or {}).items():
            self.vars[name] = dig(r.body, p)
        mode = s.get("record", "full")
        out = {"status": r.status}
        if mode == "none":
            return None
        if mode == "status":
            return out
        out["type"] = r.ctype
        if r.status >= 400:
            if isinstance(r.body, dict):
                out["fields"] = sorted(r.body)
                if "faultcode" in r.body:
                    out["faultcode"] = r.body["faultcode"]
                out["error"] = self.scrub(str(r.body.get("faultstring")))
            elif mode != "status":
                out["error"] = "not JSON: " + self.scrub(r.text[:60])
            return out
        v = r.body
        if "select" in s:
            sel = s["select"]
            if isinstance(sel, dict):
                v = {k: dig(r.body, p) for k, p in sel.items()}
            elif isinstance(sel, list):
                v = {p: dig(r.body, p) for p in sel}
            else:
                v = dig(r.body, sel)
        if s.get("parse") and isinstance(v, str):
            v = as_json(v)
        if mode == "shape":
            v = shape(v)
        v = self.scrub(v)
        if s.get("sorted") and isinstance(v, list):
            v = sorted(v, key=canon)
        elif s.get("sorted") and isinstance(v, dict):
            v = {k: sorted(x, key=canon) if isinstance(x, list) else x for k, x in v.items()}
        out["body"] = v
        return out

    # ---- the whole case

    def play(self):
        seen = {"definitions": [], "steps": [], "executions": {}}
        try:
            for d in self.case.get("definitions") or []:
                seen["definitions"].append(self.define(d))
            steps = self.case.get("steps") or []
            for s in steps:
                ((op, arg),) = s.items()
                fn = getattr(self, "do_" + op, None)
                if fn is None:
                    raise Abort(f"unknown step {op!r}")
                try:
                    obs = fn(arg if op == "sleep" or arg is not None else {})
                except Abort:
                    obs = {"aborted": True}
                except IndexError:
                    obs = {"aborted": True}
                if obs is not None:
                    seen["steps"].append(dict({"step": op}, **obs))
            for name, ex_id in self.ids.items():
                if name in (self.case.get("ignore_executions") or ()) or name.startswith("http"):
                    continue
                seen["executions"][name] = self.look.settled_tree(ex_id)
        finally:
            if not self.case.get("keep"):
                self.cleanup()
        return seen


# ---------------------------------------------------------------- comparison


class Diff:
    def __init__(self, strict=(), loose=()):
        self.hard = []
        self.soft = []
        self.strict = set(strict)
        self.loose = list(loose)
        self.forgiven = set()
        self.mistral_fell = set()
        self.over = False  # inside an execution that has come to its end

    def leaf(self, path, exp, got):
        if exp == got and isinstance(exp, bool) == isinstance(got, bool):
            return
        key = path.rsplit(".", 1)[-1]
        if (
            key == "status"
            and isinstance(exp, int)
            and exp >= 500
            and isinstance(got, int)
            and got >= 400
        ):
            # Mistral fell over; refusing in any way will do.
            self.forgiven.add(path.rsplit(".", 1)[0])
            self.soft.append(f"{path}: {exp} | {got}")
            return
        if key in ("faultcode", "fields", "type") and path.rsplit(".", 1)[0] in self.mistral_fell:
            self.soft.append(f"{path}: {short(exp)} | {short(got)}")
            return
        self.hard.append(f"{path}: expected {short(exp)}, got {short(got)}")

    def wording(self, path, exp, got):
        if bool(exp) != bool(got):
            self.hard.append(
                "{}: expected {}, got {}".format(path, "some text" if exp else "none", short(got))
            )
        elif exp != got:
            self.soft.append(f"{path}: {short(exp)} | {short(got)}")

    def run(self, exp, got, path=""):
        key = path.rsplit(".", 1)[-1]
        if (
            key in ("state_info", "error")
            and key not in self.strict
            and not isinstance(exp, (dict, list))
        ):
            return self.wording(path, exp, got)
        if key == "params" and isinstance(exp, dict):
            if exp != got:
                self.soft.append(f"{path}: {short(exp)} | {short(got)}")
            return None
        if any(fnmatch.fnmatchcase(path, p) for p in self.loose):
            return self.wording(path, exp, got)
        if isinstance(exp, dict) and isinstance(got, dict):
            if "tasks" in exp and "state" in exp:
                outer, self.over = self.over, exp["state"] in TERMINAL
                try:
                    return self.mapping(path, exp, got)
                finally:
                    self.over = outer
            return self.mapping(path, exp, got)
        if isinstance(exp, list) and isinstance(got, list):
            if len(exp) != len(got):
                self.hard.append(
                    "%s: expected %d items %s, got %d %s"
                    % (path, len(exp), short(exp), len(got), short(got))
                )
                return None
            for i, (e, g) in enumerate(zip(exp, got, strict=False)):
                name = e.get("name") if isinstance(e, dict) else None
                self.run(e, g, f"{path}[{name or i}]")
            return None
        if (
            isinstance(exp, str)
            and isinstance(got, str)
            and ENGINE_TEXT.search(exp)
            and "wording" not in self.strict
        ):
            return self.wording(path, exp, got)
        self.leaf(path, exp, got)
        return None

    # Mistral leaves what was unfinished when its execution ended RUNNING, or
    # WAITING, for ever.  Ending it is better and is not a difference.
    LEFT = ("IDLE", "WAITING", "RUNNING", "DELAYED", "PAUSED")
    ENDED = ("state", "state_info", "result", "output", "accepted")

    def mapping(self, path, exp, got):
        if isinstance(exp.get("status"), int) and exp["status"] >= 500:
            self.mistral_fell.add(path)
        if (
            self.over
            and "tasks" not in exp
            and exp.get("state") in self.LEFT
            and got.get("state") in ("CANCELLED", "ERROR")
        ):
            self.soft.append("{}.state: {} | {}".format(path, exp["state"], got["state"]))
            exp = {k: v for k, v in exp.items() if k not in self.ENDED}
            got = {k: v for k, v in got.items() if k not in self.ENDED}
        for k in sorted(set(exp) | set(got), key=str):
            if k == "__versions":
                # Mistral's own bookkeeping, seen when a workflow
                # publishes its whole context.
                continue
            if k not in got:
                self.hard.append(f"{path}.{k}: missing (expected {short(exp[k])})")
            elif k not in exp:
                if got[k] in ("", None, {}, []) and k in (
                    "description",
                    "namespace",
                    "published_global",
                ):
                    continue
                self.hard.append(f"{path}.{k}: unexpected {short(got[k])}")
            else:
                self.run(exp[k], got[k], f"{path}.{k}")


def short(v, n=160):
    s = canon(v)
    return s if len(s) <= n else s[:n] + "..."


def compare(case, got):
    d = Diff(case.get("strict") or (), case.get("loose") or ())
    d.run(case.get("recorded") or {}, got)
    return d


# --------------------------------------------------------------------- cases

MARK = "# ---- recorded from Mistral; do not edit below ----\n"


def load_case(path):
    with open(path) as f:
        case = yaml.safe_load(f)
    case.setdefault("case", os.path.splitext(os.path.basename(path))[0])
    case["path"] = path
    return case


def find_cases(roots, patterns=(), areas=()):
    out = []
    for root in roots:
        files = (
            [root]
            if os.path.isfile(root)
            else sorted(glob.glob(os.path.join(root, "**", "*.yaml"), recursive=True))
        )
        for f in files:
            name = os.path.splitext(os.path.basename(f))[0]
            if patterns and not any(fnmatch.fnmatchcase(name, p) for p in patterns):
                continue
            case = load_case(f)
            if areas and case.get("area") not in areas:
                continue
            out.append(case)
    return out


def case_names(case):
    """Names that two cases running at once must not share."""
    out = set()
    for d in case.get("definitions") or []:
        if isinstance(d.get("text"), str):
            out.update(definition_names(d["kind"], d["text"]))
        elif isinstance(d.get("text"), dict):
            out.add(d["text"].get("name"))
    return out


class Result:
    def __init__(self, case, got=None, diff=None, crash=None, seconds=0):
        self.case = case
        self.got = got
        self.diff = diff
        self.crash = crash
        self.seconds = seconds

    @property
    def passed(self):
        return not self.crash and self.diff is not None and not self.diff.hard


def play(url, case, peer=None, patience=1.0):
    return Player(Rest(url), case, peer or Peer(), patience).play()


def run_case(url, case, peer, patience):
    t0 = time.time()
    try:
        got = play(url, case, peer, patience)
    except Exception:
        return Result(case, crash=traceback.format_exc(), seconds=time.time() - t0)
    return Result(case, got, compare(case, got), None, time.time() - t0)


def run_many(url, cases, jobs=1, patience=1.0, report=None):
    """Run the cases; those that share a name never run at the same time."""
    peer = Peer()
    todo = collections.deque(c for c in cases if not c.get("serial"))
    serial = [c for c in cases if c.get("serial")]
    busy = set()
    lock = threading.Condition()
    results = []

    def finish(res):
        with lock:
            results.append(res)
            if report:
                report(res)

    def take():
        with lock:
            while True:
                if not todo:
                    return None, None
                for i, c in enumerate(todo):
                    names = case_names(c)
                    if not (names & busy):
                        del todo[i]
                        busy.update(names)
                        return c, names
                lock.wait(0.5)

    def work():
        while True:
            c, names = take()
            if c is None:
                return
            try:
                finish(run_case(url, c, peer, patience))
            finally:
                with lock:
                    busy.difference_update(names)
                    lock.notify_all()

    threads = [threading.Thread(target=work) for _ in range(max(1, jobs))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for c in serial:
        finish(run_case(url, c, peer, patience))
    return results
