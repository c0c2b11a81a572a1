// Wrong use causes an error that explains the right use; it is never ignored silently.

import { after, test } from 'node:test';
import assert from 'node:assert/strict';
import './globals.mjs';
import { Client } from '../../src/web/client.js';
import { Call, Calls } from '../../src/web/call.js';
import { Controls } from '../../src/web/controls.js';
import { Player } from '../../src/web/player.js';
import { Roster } from '../../src/web/roster.js';
import { Site } from '../../src/web/site.js';
import { Watcher } from '../../src/web/watcher.js';
import { START, step } from '../../src/web/watching.js';

class Socket { close() {} }
const right = { url: 'ws://server/', user: 'me', WebSocket: Socket };
const client = new Client(right);
const calls = Calls.over(client);
const call = new Calls({ send: () => {}, address: () => 'me|1' }).invite('door|1');
after(() => call.hangup()); // otherwise its 30 s of ringing keep the process alive
const video = { play() {} };

const TABLE = [
  ['a client of nothing', () => new Client(), /Client takes \{ url, user \}.*not undefined/],
  ['a client of a string', () => new Client('ws://server/'), /Client takes \{ url, user \}.*not "ws:\/\/server\/"/],
  ['a client without url', () => new Client({ user: 'me', WebSocket: Socket }), /url must be .* begins with ws: or wss:, not undefined/],
  ['a client of a page', () => new Client({ ...right, url: 'http://server/' }), /begins with ws: or wss:, not "http:\/\/server\/"/],
  ['a client without user', () => new Client({ ...right, user: '' }), /user must be the name .* not an empty string/],
  ['a user with a bar', () => new Client({ ...right, user: 'a|b' }), /must not contain \|/],
  ['a token that is none', () => new Client({ ...right, token: 7 }), /token must be a string, not number 7/],
  ['rooms that are one', () => new Client({ ...right, rooms: 'public' }), /rooms must be a list of names, not "public"/],
  ['data that is none', () => new Client({ ...right, data: [] }), /data must be an object .* not a list/],
  ['a misspelled limit', () => new Client({ ...right, limits: { bet: 1 } }), /no limit "bet"; the limits are beat, answer/],
  ['a clock that is none', () => new Client({ ...right, clock: Date }), /clock must have now, after, cancel and random/],
  ['no WebSocket', () => new Client({ ...right, WebSocket: {} }), /no WebSocket here/],
  ['an event that there is not', () => client.on('massage', () => {}), /Client has no event "massage"; its events are state, welcome, message/],
  ['a handler that is none', () => client.on('message'), /handler of "message" must be a function, not undefined/],
  ['a message that is a string', () => client.send('hello'), /send takes a message, an object with a type .* not "hello"/],
  ['a message without type', () => client.send({ to: 'bob' }), /send takes a message, an object with a type/],
  ['a command to nobody', () => client.command(undefined, { action: 'go' }), /command is sent to a peer's address or a user, not to undefined/],
  ['a command of nothing', () => client.command('door|1'), /command takes \{ node, action, data \} .* not undefined/],
  ['an answer to nothing', () => client.respond(), /respond takes the command that came, not undefined/],
  ['a room without name', () => client.join(), /join takes the name of a room, not undefined/],
  ['a room that is none', () => client.leave(3), /leave takes the name of a room, not number 3/],
  ['a presence that is none', () => client.present('away'), /present takes an object .* not "away"/],

  ['calls of nothing', () => new Calls(), /Calls takes \{ send, address \}, not undefined; with a client, use Calls.over\(client\)/],
  ['calls of a client', () => new Calls(client), /address is null; with a client, use Calls.over\(client\)/],
  ['calls without address', () => new Calls({ send() {} }), /both functions, and address is undefined/],
  ['calls over nothing', () => Calls.over(), /Calls.over takes a Client, not undefined/],
  ['calls over options', () => Calls.over(right), /Calls.over takes a Client, not an object/],
  ['a misspelled limit of calls', () => Calls.over(client, { limits: { call: 2 } }), /no limit "call"; the limits are calls, ring/],
  ['calling nobody', () => calls.invite(), /invite calls a peer's address or a user, not undefined/],
  ['calling a peer, not its address', () => calls.invite({ address: 'door|1' }), /invite calls a peer's address or a user, not an object/],
  ['a call made by hand', () => new Call(client, { id: '1', remote: 'door' }), /Only Calls makes calls/],
  ['an invalid description', () => call.describe('v=0'), /describe takes an offer or an answer/],
  ['a hangup with an event', () => call.hangup({ type: 'click' }), /hangup takes a code such as "ended", not an object/],
  ['a message that is none', () => calls.handle('call:init'), /handle takes a received message/],
  ['an event of calls that there is not', () => calls.on('call', () => {}), /Calls has no event "call"; its events are incoming, ended/],

  ['a player of nothing', () => new Player(), /Player takes \{ call, video \}, not undefined/],
  ['a player without call', () => new Player({ video }), /call must be a Call.* not undefined/],
  ['a player without video', () => new Player({ call, video: '#video' }), /video must be a video element, not "#video"/],
  ['ICE servers that are one', () => new Player({ call, video, iceServers: { urls: 'stun:a' } }), /iceServers must be a list/],
  ['a stream that is none', () => new Player({ call, video, stream: true }), /stream must be a MediaStream, not boolean true/],

  ['a watcher of nothing', () => new Watcher(), /Watcher takes \{ client, calls, video \}, not undefined/],
  ['a watcher without calls', () => new Watcher({ client, video }), /calls must be Calls.over\(client\), not undefined/],
  ['a watcher without video', () => new Watcher({ client, calls }), /video must be a video element, not undefined/],
  ['ICE servers that are no function', () => new Watcher({ client, calls, video, ice: [] }), /ice must be a function .* not a list/],
  ['controls of nothing', () => new Controls(), /Controls takes \{ client, form \}, not undefined/],
  ['controls without form', () => new Controls({ client }), /form must be a form element, not undefined/],
  ['a presence of nothing', () => new Roster().handle(), /Roster.handle takes a presence/],
  ['a site of nothing', () => new Site(), /Site takes the address of a server's page, not undefined/],
  ['a site of a word', () => new Site('camera'), /"camera" is not the address of a page/],
  ['a site of a socket', () => new Site('ws://camera/'), /begins with http: or https:, not with ws:/],
  ['a step with no event', () => step(START, undefined, { now: 0 }), /watching has no event undefined; its events are line, cameras/],
  ['a step without time', () => step(START, { type: 'time' }, {}), /step needs \{ now \} in milliseconds, not undefined/],
];

for (const [what, use, words] of TABLE) {
  test(what, () => assert.throws(use, (error) => {
    assert.ok(error instanceof TypeError, String(error));
    assert.match(error.message, words);
    assert.match(error.message, /\.$/, 'a sentence');
    return true;
  }));
}

test('correct use is accepted', () => {
  const taken = new Client({ ...right, url: new URL('wss://server/path'), rooms: new Set(['a']), token: '', data: {} });
  assert.equal(taken.url, 'wss://server/path');
  const off = taken.on('message', () => {});
  off();
  assert.equal(new Site('camera/', { page: { href: 'https://host/page.html', origin: 'https://host' } }).socket, 'wss://host/camera/');
});
