"""A server on the loopback address that speaks as much of the Hugging Face hub's API as a download needs.

The listing of a revision, and `resolve` addresses: small files are sent, large ones (weights) are redirected to a second
server, the "CDN", which wants no token. Faults are asked for by the tests: `hub.breaks["model.safetensors"] = [100]`
ends the next answer with that file after 100 bytes.
"""

import hashlib
import http.server
import json
import re
import threading
import urllib.parse

LARGE = (".safetensors", ".bin")


def commit_of(text):
    return hashlib.sha1(text.encode()).hexdigest()


class Repository:
    """Files by commit, and commits by branch or tag."""

    def __init__(self, files, gated=False, private=False):
        self.commits = {}
        self.refs = {}
        self.gated = gated
        self.private = private
        self.push("main", files)

    def push(self, ref, files):
        commit = commit_of("%s %d" % (ref, len(self.commits)))
        self.commits[commit] = dict(files)
        self.refs[ref] = commit
        return commit

    def commit(self, revision):
        return self.refs.get(revision) or (revision if revision in self.commits else None)


def etag_of(name, data):
    if name.endswith(LARGE):
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def reply(self, status, headers=(), body=b""):
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def fail(self, status, code, message):
        self.reply(status, {"X-Error-Code": code, "X-Error-Message": message} if code else {"X-Error-Message": message})

    def send_file(self, name, data, headers):
        """The bytes asked for; a break ends the connection early."""
        hub = self.server.hub
        begin = 0
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if wanted and hub.ranges:
            begin = int(wanted.group(1))
            if begin >= len(data):
                self.reply(416)
                return
        part = data[begin:]
        self.send_response(206 if begin else 200)
        for key, value in headers.items():
            self.send_header(key, value)
        if begin:
            self.send_header("Content-Range", "bytes %d-%d/%d" % (begin, len(data) - 1, len(data)))
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        if self.command == "HEAD":
            return
        breaks = hub.breaks.get(name)
        if breaks:
            part = part[:breaks.pop(0)]
            self.close_connection = True
        self.wfile.write(part)

    def answer(self):
        hub = self.server.hub
        path = urllib.parse.urlsplit(self.path).path
        hub.requests.append((self.server.role, self.command, path, dict(self.headers)))
        for pattern, status in hub.statuses.items():
            if re.search(pattern, path):
                self.fail(status, "", "as the test asked")
                return
        if self.server.role == "cdn" and hub.expired > 0:
            hub.expired -= 1
            self.reply(403)
            return
        if self.server.role == "cdn":
            name, data = hub.blobs[path.strip("/")]
            self.send_file(name, hub.corrupt.get(name, data), {"ETag": '"cdn"'})
            return
        api = re.fullmatch(r"/api/models/(.+?)/revision/([^/]+)", path)
        resolve = re.fullmatch(r"/(.+?)/resolve/([^/]+)/(.+)", path)
        parts = [urllib.parse.unquote(part) for part in (api or resolve).groups()] if api or resolve else []
        token = self.headers.get("Authorization", "")
        if token and token != "Bearer " + hub.token:
            self.fail(401, "", "Invalid credentials in Authorization header")
            return
        if parts and parts[0] in hub.moved:
            new = self.path.replace(parts[0], hub.moved[parts[0]], 1)
            self.reply(307, {"Location": new})
            return
        repository = hub.repositories.get(parts[0]) if parts else None
        if repository is None or (repository.private and not token):
            self.fail(404 if token else 401, "RepoNotFound", "Repository not found")
            return
        if resolve and repository.gated and not token:
            self.fail(401, "GatedRepo", "Access to model %s is restricted." % parts[0])
            return
        commit = repository.commit(parts[1])
        if commit is None:
            self.fail(404, "RevisionNotFound", "Invalid rev id: " + parts[1])
            return
        files = repository.commits[commit]
        if api:
            body = json.dumps({"id": parts[0], "sha": commit,
                               "siblings": [{"rfilename": name} for name in sorted(files)]}).encode()
            self.reply(200, {"Content-Type": "application/json"}, body)
            return
        self.resolve(parts[2], files, commit)

    def resolve(self, name, files, commit):
        hub = self.server.hub
        if name not in files:
            self.reply(404, {"X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found",
                             "X-Repo-Commit": commit})
            return
        data = files[name]
        etag = etag_of(name, data)
        if not name.endswith(LARGE):
            self.send_file(name, hub.corrupt.get(name, data), {"ETag": '"%s"' % etag, "X-Repo-Commit": commit})
            return
        hub.blobs[etag] = (name, data)
        self.reply(302, {"Location": "%s/%s?signed=yes" % (hub.cdn_url, etag), "X-Linked-Etag": '"%s"' % etag,
                         "X-Linked-Size": str(len(data)), "X-Repo-Commit": commit})


class Hub:
    """Both servers, until `close`."""

    def __init__(self, repositories):
        self.repositories = repositories
        self.token = "hf_secret"
        self.requests = []  # (server, method, path, headers)
        self.breaks = {}    # by file: where its next answers end
        self.corrupt = {}   # by file: other bytes than those that its ETag names
        self.statuses = {}  # by pattern of a path: the status of every answer
        self.moved = {}     # by old name of a model: its new one
        self.expired = 0    # answers of the CDN that say an address is no longer good
        self.ranges = True
        self.blobs = {}
        self.servers = []
        self.url = self.serve("hub", "127.0.0.1")
        self.cdn_url = self.serve("cdn", "localhost")

    def serve(self, role, host):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        server.role, server.hub = role, self
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        self.servers.append((server, thread))
        return "http://%s:%d" % (host, server.server_address[1])

    def fetched(self):
        """The files whose bytes were asked for, in order."""
        names = []
        for role, method, path, _ in self.requests:
            if method == "GET" and role == "cdn":
                names.append(self.blobs[path.strip("/")][0])
            elif method == "GET" and "/resolve/" in path:
                names.append(path.split("/resolve/", 1)[1].split("/", 1)[1])
        return names

    def close(self):
        for server, thread in self.servers:
            server.shutdown()
            server.server_close()
            thread.join()
