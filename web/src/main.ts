// The playground: one connection of the library, and the panels that use it.

import type { Connection, StatusEvent } from "../client/portico";
import { connect } from "../client/src/index";
import { Composer } from "./compose";
import { button, byId, input, onSubmit, tell } from "./dom";
import { type Place } from "./snippets";
import { LiveTap } from "./tap";
import { chooseTheme } from "./theme";
import { shortcuts } from "./keys";
import { WorkPanel } from "./work";

const base = new URL(".", document.baseURI).href.replace(/\/$/, "");

let connection: Connection;
let login: { user: string; password: string } | undefined;
const place: Place = { base, host: location.hostname, ports: { http: Number(location.port) || (location.protocol === "https:" ? 443 : 80) }, user: "" };

const tap = new LiveTap(() => connection, { answer: (m) => composer.answerTo(m.reply), reuse: (m) => composer.reuse(m) });
const work = new WorkPanel(() => connection);
const composer = new Composer(
  () => connection,
  () => place,
  () => (login === undefined ? {} : { Authorization: `Basic ${btoa(String.fromCharCode(...new TextEncoder().encode(`${login.user}:${login.password}`)))}` }),
  { subscribe: (pattern) => tap.add(pattern), consume: (queue) => work.consume(queue) },
);

/** Connects, as somebody if a login is given. */
function open(): void {
  const mine = connect(`${base}/ws`, { ...login, maxPending: 256 });
  connection = mine;
  mine.on("status", (event) => mine === connection && show(event));
  mine.on("error", (error) => mine === connection && tell(byId("trouble", HTMLElement), String((error as Error).message), true));
  tap.add(input("pattern").value).then(
    () => tell(byId("trouble", HTMLElement), "", false),
    (error: Error) => mine.status === "open" && tell(byId("trouble", HTMLElement), error.message, true),
  );
}

function show({ status, error }: StatusEvent): void {
  const refused = status === "closed" && error?.code === "unauthenticated";
  const said = { connecting: "Connecting", open: "Connected", reconnecting: "Connection lost, trying again", closed: refused ? "Sign in to connect" : "Closed" }[status];
  const badge = byId("state", HTMLElement);
  badge.dataset["state"] = status;
  badge.textContent = refused && login !== undefined ? `${said} (${error.message})` : status === "open" && connection.user !== "" ? `${said} as ${connection.user}` : said;
  byId("login", HTMLFormElement).hidden = !refused;
  for (const name of ["sending", "queueing", "listening"]) {
    byId(name, HTMLFieldSetElement).disabled = status !== "open";
  }
  if (refused) {
    login = undefined;
  }
  if (status === "open") {
    place.user = connection.user;
    void discover();
  } else {
    work.lost();
  }
}

/** Asks the gateway where its other doors are. */
async function discover(): Promise<void> {
  try {
    const found = await (await fetch(new URL(".well-known/portico", document.baseURI))).json();
    place.ports = { ...found.ports, ...place.ports };
  } finally {
    composer.show();
  }
}

onSubmit("login", async () => {
  login = { user: input("user").value, password: input("password").value };
  input("password").value = "";
  open();
  return "";
});

chooseTheme(button("theme"));
shortcuts({ subject: () => input("subject").focus(), pattern: () => input("pattern").focus(), pause: () => tap.pause(), clear: () => tap.clear() });
byId("hint", HTMLElement).textContent = `curl -d hello ${base}/v1/publish/greet.you`;
open();
