"""A stand-in of the Hub on this machine: the part of its protocol that downloads and pushes need.

What a request must hold, and what the answers hold, is taken from what huggingface_hub 0.34 and 2.4 send and read.
"""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import re
import threading
import urllib.parse
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OLDER = "89abcdef0123456789abcdef0123456789abcdef"
WRITE_TOKEN, READ_TOKEN = "hf_write", "hf_read"
OWNER = "me"  # whose tokens these are

Files = dict[str, bytes]


class Refused(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, message: str, code: str = "", **more: Any) -> None:
        self.status, self.code = status, code
        self.body = {"error": message, **more}


class StandIn:
    """Serves repositories, and takes pushes.

    Attributes:
        files: (repository, commit, file name) -> content.
        branches: what a branch or tag of any repository means, where ``heads`` does not say.
        heads: (repository, branch) -> commit, of repositories that were pushed to.
        private: repositories made here -> whether they are private.
        pushes: the headers of the commits, in order, with repository, branch, and names added and deleted.
        requests: (method, path) in order.
        tokens: their Authorization headers.
        gated: repositories that nobody may read.
        redirected: whether downloads are sent on to another address.
        failing: paths (a part is enough) that are answered with status 500.
        silent: so many requests are not answered at all.
    """

    def __init__(self) -> None:
        self.files: dict[tuple[str, str, str], bytes] = {}
        self.branches = {"main": COMMIT, "v1": OLDER}
        self.heads: dict[tuple[str, str], str] = {}
        self.private: dict[str, bool] = {}
        self.pushes: list[dict[str, Any]] = []
        self.large: dict[str, bytes] = {}
        self.requests: list[tuple[str, str]] = []
        self.tokens: list[str | None] = []
        self.gated: set[str] = set()
        self.redirected = False
        self.failing: set[str] = set()
        self.silent = 0
        stand_in = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                stand_in.answer(self)

            do_GET = do_POST = do_PUT = do_HEAD

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    # What tests set and look at

    def add(self, repository: str, filename: str, content: str, commit: str = COMMIT) -> None:
        self.files[repository, commit, filename] = content.encode()

    def fetched(self) -> list[str]:
        return [
            path.rpartition("/")[2]
            for command, path in self.requests
            if command == "GET" and "/resolve/" in path
        ]

    def at(self, repository: str, revision: str = "main") -> Files:
        """The files of a repository at a branch or commit."""
        commit = self.commit_of(repository, revision)
        return {
            name: body
            for (owner, at, name), body in self.files.items()
            if (owner, at) == (repository, commit)
        }

    def commit_of(self, repository: str, revision: str) -> str:
        return self.heads.get((repository, revision)) or self.branches.get(revision, revision)

    def known(self, repository: str) -> bool:
        return repository in self.private or any(key[0] == repository for key in self.files)

    # The protocol

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        self.requests.append((handler.command, handler.path))
        self.tokens.append(handler.headers.get("Authorization"))
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        if "chunked" in handler.headers.get("Transfer-Encoding", ""):
            body = _chunks(handler)
        if self.silent:
            self.silent -= 1
            handler.close_connection = True
            return
        path, _, query = handler.path.partition("?")
        headers: dict[str, str] = {}
        try:
            if any(part in path for part in self.failing):
                raise Refused(500, "something broke here")
            if "/resolve/" in path:
                status, headers, content = self.download(path)
            else:
                status, content = 200, self.api(handler.command, urllib.parse.unquote(path), query, body)
        except Refused as refusal:
            status, content = refusal.status, json.dumps(refusal.body).encode()
            headers |= {"X-Error-Code": refusal.code} if refusal.code else {}
            headers["X-Error-Message"] = refusal.body["error"]
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(content)

    def download(self, path: str) -> tuple[int, dict[str, str], bytes]:
        repository, _, rest = path.removeprefix("/storage").lstrip("/").partition("/resolve/")
        revision, _, filename = rest.partition("/")
        commit = self.commit_of(repository, urllib.parse.unquote(revision))
        if repository in self.gated:
            raise Refused(403, "gated", "GatedRepo")
        if not self.known(repository):
            raise Refused(404, "no such repository", "RepoNotFound")
        if commit not in {key[1] for key in self.files}:
            raise Refused(404, "no such revision", "RevisionNotFound")
        body = self.files.get((repository, commit, filename))
        if body is None:
            return 404, {"X-Repo-Commit": commit, "X-Error-Code": "EntryNotFound"}, b""
        headers = {"X-Repo-Commit": commit}
        if self.redirected and not path.startswith("/storage"):
            headers["Location"] = f"{self.endpoint}/storage{path}"
            headers["X-Linked-Etag"] = f'"{hashlib.sha256(body).hexdigest()}"'
            headers["X-Linked-Size"] = str(len(body))
            return 302, headers, b""
        return 200, headers | {"ETag": f'"{hashlib.sha1(body).hexdigest()}"'}, body

    def api(self, command: str, path: str, query: str, body: bytes) -> bytes:
        """Answer everything but downloads; what it answers is JSON."""
        routes = {
            ("POST", r"/api/repos/create"): self.create,
            ("POST", r"/api/validate-yaml"): self.validate,
            ("GET", r"/api/models/(?P<repository>\w+/[\w.-]+)"): self.info,
            ("GET", r"/api/models/(?P<repository>\w+/[\w.-]+)/revision/(?P<revision>.+)"): self.info,
            ("POST", r"/api/models/(?P<repository>.+)/branch/(?P<branch>.+)"): self.branch,
            ("POST", r"/api/models/(?P<repository>.+)/preupload/(?P<revision>.+)"): self.preupload,
            ("POST", r"/(?P<repository>.+)\.git/info/lfs/objects/batch"): self.batch,
            ("PUT", r"/storage/(?P<oid>\w{64})"): self.store,
            ("POST", r"/storage/(?P<oid>\w{64})/verify"): self.verify,
            ("POST", r"/api/models/(?P<repository>.+)/commit/(?P<revision>.+)"): self.commit,
        }
        for (method, pattern), route in routes.items():
            found = re.fullmatch(pattern, path)
            if method == command and found:
                arguments = found.groupdict()
                if route == self.commit:
                    arguments["pull_request"] = "create_pr=1" in query
                return json.dumps(route(body, **arguments)).encode()
        raise Refused(404, f"the stand-in has no {command} {path}")

    def may_write(self, repository: str) -> None:
        token = (self.tokens[-1] or "").removeprefix("Bearer ")
        if token not in (WRITE_TOKEN, READ_TOKEN):
            raise Refused(401, "Invalid credentials in Authorization header")
        if token == READ_TOKEN or repository.partition("/")[0] != OWNER:
            raise Refused(403, f"You don't have the rights to write to {repository}")

    def create(self, body: bytes) -> dict[str, Any]:
        asked = json.loads(body)
        assert asked.get("type") in (None, "model")
        repository = f"{asked['organization'] or OWNER}/{asked['name']}"
        url = f"{self.endpoint}/{repository}"
        self.may_write(repository)
        if self.known(repository):
            raise Refused(409, "You already created this model repo", url=url)
        private = asked.get("private", asked.get("visibility") == "private")  # 0.34 says it thus, 2.4 so
        self.private[repository] = bool(private)
        self.set_head(repository, "main", {".gitattributes": b"*.safetensors filter=lfs\n"})
        return {"url": url, "name": repository}

    def validate(self, body: bytes) -> dict[str, Any]:
        assert json.loads(body)["content"].startswith("---\n"), "a card without metadata"
        return {"errors": [], "warnings": []}

    def info(self, body: bytes, repository: str, revision: str = "main") -> dict[str, Any]:
        if not self.known(repository):
            raise Refused(404, "Repository not found", "RepoNotFound")
        files = self.at(repository, revision)
        if not files:
            raise Refused(404, "Invalid rev id", "RevisionNotFound")
        return {
            "id": repository, "modelId": repository, "private": self.private.get(repository, False),
            "sha": self.commit_of(repository, revision), "siblings": [{"rfilename": name} for name in sorted(files)],
            "xetEnabled": False,
        }  # fmt: skip

    def branch(self, body: bytes, repository: str, branch: str) -> dict[str, Any]:
        self.may_write(repository)
        if (repository, branch) in self.heads:
            raise Refused(409, "Reference already exists")
        self.heads[repository, branch] = self.commit_of(repository, "main")
        return {}

    def preupload(self, body: bytes, repository: str, revision: str) -> dict[str, Any]:
        there = self.at(repository, revision)
        answers = []
        for file in json.loads(body)["files"]:
            assert len(base64.b64decode(file["sample"])) == min(file["size"], 512)
            large = file["path"].endswith((".safetensors", ".model"))
            old = there.get(file["path"])
            oid = None if old is None else (_large_id(old) if large else _small_id(old))
            answers.append(
                {
                    "path": file["path"], "uploadMode": "lfs" if large else "regular", "shouldIgnore": False,
                    "oid": oid,
                }
            )  # fmt: skip
        return {"files": answers, "commitOid": self.commit_of(repository, revision)}

    def batch(self, body: bytes, repository: str) -> dict[str, Any]:
        self.may_write(repository)
        asked = json.loads(body)
        assert (asked["operation"], asked["hash_algo"]) == ("upload", "sha256")
        assert "basic" in asked["transfers"]
        objects = []
        for item in asked["objects"]:
            href = f"{self.endpoint}/storage/{item['oid']}"
            actions = {"upload": {"href": href, "header": {}}, "verify": {"href": f"{href}/verify"}}
            objects.append({**item} if item["oid"] in self.large else {**item, "actions": actions})
        return {"transfer": "basic", "objects": objects}

    def store(self, body: bytes, oid: str) -> dict[str, Any]:
        if _large_id(body) != oid:
            raise Refused(400, "the content is not what was announced")
        self.large[oid] = body
        return {}

    def verify(self, body: bytes, oid: str) -> dict[str, Any]:
        asked = json.loads(body)
        assert (asked["oid"], asked["size"]) == (oid, len(self.large[oid]))
        return {}

    def commit(self, body: bytes, repository: str, revision: str, pull_request: bool) -> dict[str, Any]:
        if not pull_request:
            self.may_write(repository)
        lines = [json.loads(line) for line in body.splitlines()]
        files = dict(self.at(repository, revision))
        added, deleted = [], []
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "deletedFile":
                del files[value["path"]]
                deleted.append(value["path"])
                continue
            added.append(value["path"])
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            else:
                assert line["key"] == "lfsFile"
                files[value["path"]] = self.large[value["oid"]]
        assert lines[0]["key"] == "header"
        target = "refs/pr/1" if pull_request else revision
        commit = self.set_head(repository, target, files)
        push = {
            "repository": repository,
            "branch": target,
            "added": sorted(added),
            "deleted": sorted(deleted),
        }
        self.pushes.append({**lines[0]["value"], **push})
        url = f"{self.endpoint}/{repository}"
        request = f"{url}/discussions/1" if pull_request else None
        return {"commitUrl": f"{url}/commit/{commit}", "commitOid": commit, "pullRequestUrl": request}

    def set_head(self, repository: str, branch: str, files: Files) -> str:
        content = repr((repository, branch, len(self.pushes), sorted(files.items()))).encode()
        commit = hashlib.sha1(content).hexdigest()
        self.files |= {(repository, commit, name): body for name, body in files.items()}
        self.heads[repository, branch] = commit
        return commit


def _small_id(content: bytes) -> str:
    """Git's id of a file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _large_id(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _chunks(handler: http.server.BaseHTTPRequestHandler) -> bytes:
    body = b""
    while length := int(handler.rfile.readline(), 16):
        body += handler.rfile.read(length)
        handler.rfile.readline()
    handler.rfile.readline()
    return body
