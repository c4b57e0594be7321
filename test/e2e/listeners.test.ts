/** The real processes on every kind of listening address, to backends of every kind. */
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { makeDirectory } from "../support/directory.ts";
import { startCrossfade, type Crossfade } from "../support/crossfade.ts";
import { freePort } from "../support/fleet_stage.ts";
import { GET, OK } from "../support/plane.ts";
import { RawBackend, RawClient } from "../support/wire.ts";

let backend: RawBackend;
let six: RawBackend;
let crossfade: Crossfade;
const clients: RawClient[] = [];

beforeEach(() => {
  [backend, six] = [new RawBackend(), new RawBackend()];
  backend.script = six.script = ({ socket }, piece) => {
    if (piece.endsWith("\r\n\r\n")) socket.write(OK);
  };
});

afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  await crossfade.stop();
  await Promise.all([backend.close(), six.close()]);
});

async function ask(to: ConstructorParameters<typeof RawClient>[0], bytes: string): Promise<void> {
  const client = new RawClient(to);
  clients.push(client);
  client.send(bytes);
  await client.sees(/\r\n\r\nok$/);
}

test("PROXY headers, Unix sockets and IPv6 go from the settings to the workers and through them", async () => {
  const directory = makeDirectory();
  const [plain, greeting] = [join(directory, "plain.sock"), join(directory, "greeting.sock")];
  const [port, v6Port] = [await freePort(), await freePort()];
  const path = join(directory, "app.sock");
  await backend.listen({ path });
  const sixPort = await six.listen({ host: "::1", port: 0 });
  crossfade = await startCrossfade(
    { legacy: "", new: "" },
    {
      settings: {
        listen: [
          { address: `127.0.0.1:${port}`, proxy_protocol: true },
          { address: `[::1]:${v6Port}` },
          { address: `unix:${plain}` },
          { address: `unix:${greeting}`, proxy_protocol: true },
        ],
        trusted_proxies: ["127.0.0.1", "unix"],
      },
      table: {
        backends: {
          legacy: { endpoints: [`unix:${path}`], proxy_protocol: "v1" },
          new: { endpoints: [`http://[::1]:${sixPort}`] },
        },
        routes: [
          {
            id: "shop",
            cutover: { legacy: "legacy", candidate: "new" },
            pins: [{ header: "x-six", to: "new" }],
          },
        ],
      },
    },
  );
  await ask(port, `PROXY TCP4 192.0.2.1 192.0.2.2 1 80\r\n${GET}`);
  await ask(greeting, `PROXY TCP6 2001:db8::1 2001:db8::2 1 80\r\n${GET}`);
  await ask(plain, GET);
  expect(backend.received).toContain("PROXY TCP4 192.0.2.1 0.0.0.0 0 0\r\n");
  expect(backend.received).toContain("X-Forwarded-For: 192.0.2.1\r\n");
  expect(backend.received).toContain("PROXY TCP6 2001:db8::1 ::ffff:0.0.0.0 0 0\r\n");
  expect(backend.received).toContain("X-Forwarded-For: 2001:db8::1\r\n");
  expect(backend.received).toContain("PROXY UNKNOWN\r\n");
  expect(backend.received).toContain("X-Forwarded-For: unix\r\n");

  await ask({ host: "::1", port: v6Port }, GET.replace("Host", "X-Six: 1\r\nHost"));
  expect(six.received).toContain("X-Forwarded-For: ::1\r\n");
});
