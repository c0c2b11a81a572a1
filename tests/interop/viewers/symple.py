"""A viewer's half of a call, whatever WebRTC stack it has; symple.mjs is the same in JavaScript, and says more.
"""

import asyncio
import contextlib
import json
import secrets
import sys
import traceback

import websockets

COUNT = 0.1  # seconds, how often the counters are polled


def line(saw, **more):
    return json.dumps({"saw": saw, **more}, separators=(",", ":"))


def say(saw, **more):
    print(line(saw, **more), flush=True)


def fault(what):
    say("fault", what=what, error=traceback.format_exc())


def medium():
    """Counters of one medium."""
    return {"codec": None, "frames": 0, "errors": 0, "packets": 0, "lost": 0}


class Events:
    """Callbacks of a peer connection, on the event loop's thread."""

    def __init__(self, viewer):
        self._viewer = viewer

    def candidate(self, init):
        self._viewer.signal(self, "call:candidate", init)

    def state(self, state):
        if self is self._viewer.events:
            say("state", state=state)


class Viewer:
    """Runs a call at a time. `connect(events, wishes)` makes a peer connection: the coroutines `offer()`,
    `answer(sdp)`, `accept(sdp)`, `candidate(init)`, `change(command)`, `counts()` and `close()`."""

    def __init__(self, connect):
        self.connect, self.tasks = connect, []
        self.camera = self.peer = self.events = self.to = self.call = None
        self.waiting, self.ready, self.wanted = [], False, None
        self.outgoing = asyncio.Queue()
        self.jobs = asyncio.Queue()

    def send(self, message):
        self.outgoing.put_nowait(json.dumps(message))

    def signal(self, events, subtype, data):
        if events is self.events and self.call:
            self.send({"type": "message", "subtype": subtype, "to": self.to, "call": self.call, "data": data})

    async def begin(self, to, call, wishes=()):
        if self.peer:
            await self.peer.close()
        self.to, self.call, self.waiting, self.ready = to, call, [], False
        self.events = Events(self)
        self.peer = self.connect(self.events, wishes)

    async def end(self, reason):
        if not self.call:
            return
        say("counts", **await self.peer.counts())
        peer, self.peer, self.call, self.events = self.peer, None, None, None
        await peer.close()
        say("ended", reason=reason)

    async def described(self):
        self.ready = True
        waiting, self.waiting = self.waiting, []
        for init in waiting:
            await self.candidate(init)

    async def candidate(self, init):
        if not self.ready:
            self.waiting.append(init)
        elif not init or not init.get("candidate"):
            say("end-of-candidates")
        else:
            await self.peer.candidate({**init, "candidate": init["candidate"].removeprefix("a=")})

    async def offer(self):
        sdp = await self.peer.offer()
        self.signal(self.events, "call:offer", {"type": "offer", "sdp": sdp})

    async def heard(self, message):
        subtype, data = message["subtype"], message.get("data") or {}
        if subtype == "call:init":
            say("called", **{"from": message["from"]})
            await self.begin(message["from"], message["call"])
            self.signal(self.events, "call:accept", {})
        elif message.get("call") != self.call:
            return
        elif subtype == "call:accept":
            await self.offer()
        elif subtype == "call:offer":
            say("offered")
            sdp = await self.peer.answer(data["sdp"])
            self.signal(self.events, "call:answer", {"type": "answer", "sdp": sdp})
            await self.described()
        elif subtype == "call:answer":
            await self.peer.accept(data["sdp"])
            await self.described()
            say("answered")
        elif subtype == "call:candidate":
            await self.candidate(data)
        elif subtype in ("call:reject", "call:hangup"):
            await self.end(data.get("reason"))

    async def open(self, url, user):
        self.camera = self.wanted = None
        self.outgoing = asyncio.Queue()
        socket = await websockets.connect(url, compression=None)
        self.send({"type": "auth", "user": user, "rooms": ["public"]})
        self.tasks = [asyncio.create_task(job) for job in (self.listen(socket), self.write(socket, self.outgoing))]

    async def close(self):
        for task in self.tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, websockets.ConnectionClosed):
                await task
        await self.end("closed")
        say("closed")

    async def command(self, word, *more):
        if word == "open":
            await self.open(*more)
        elif word == "close":
            await self.close()
        elif word == "call":
            if self.camera:
                await self.begin(self.camera, secrets.token_hex(16), more)
                self.signal(self.events, "call:init", {})
            else:
                self.wanted = (word, *more)
        elif word == "hangup":
            self.signal(self.events, "call:hangup", {"reason": more[0] if more else "ended"})
            # Before the connection reports it.
            await self.outgoing.join()
            await self.end("hung up")
        elif word == "talk":
            self.peer.talk(*more)
        else:
            await self.peer.change(word)
            await self.offer()

    async def listen(self, socket):
        async for text in socket:
            message = json.loads(text)
            data = message.get("data") or {}
            if message["type"] == "presence" and data.get("peerType") == "camera" and data.get("online"):
                if not self.camera:
                    say("online")
                self.camera = f"{data['user']}|{data['id']}"
                if self.wanted:
                    self.jobs.put_nowait((self.command, *self.wanted))
                    self.wanted = None
            if (message.get("subtype") or "").startswith("call:"):
                self.jobs.put_nowait((self.heard, message))
        self.jobs.put_nowait((self.end, "offline"))

    async def write(self, socket, outgoing):
        try:
            while True:
                await socket.send(await outgoing.get())
                outgoing.task_done()
        finally:
            await socket.close()

    # One after the other: a candidate must not overtake the description that it belongs to.
    async def work(self):
        while True:
            job, *arguments = await self.jobs.get()
            try:
                await job(*arguments)
            except Exception:  # noqa: BLE001 the test shows any error
                fault(arguments[0] if isinstance(arguments[0], str) else arguments[0].get("subtype"))

    async def read(self):
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while text := await reader.readline():
            self.jobs.put_nowait((self.command, *text.decode().split()))

    async def count(self):
        last = None
        while True:
            peer = self.peer
            try:
                now = line("counts", **await peer.counts()) if peer else last
            except Exception:  # noqa: BLE001 the test shows any error
                now = last
                if peer is self.peer:
                    fault("counts")
            if now != last:
                print(now, flush=True)
                last = now
            await asyncio.sleep(COUNT)


def run(connect):
    async def main():
        viewer = Viewer(connect)
        rest = [asyncio.create_task(job()) for job in (viewer.work, viewer.count)]
        await viewer.read()
        for task in rest:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    asyncio.run(main())
