// The playground: one connection, and the three panels that use it.

import { Connection, type Login, type State } from "./connection";
import { byId, input, onSubmit, tell } from "./dom";
import { Feed } from "./feed";
import { QueuePanel } from "./queue";
import { Sender } from "./send";

const said: Record<State, string> = {
  connecting: "Connecting",
  open: "Connected",
  waiting: "Connection lost, trying again",
  refused: "Sign in to connect",
};

const url = new URL("ws", document.baseURI);
url.protocol = url.protocol === "https:" ? "wss:" : "ws:";

const connection = new Connection(url.href, show, (frame) => {
  feed.receive(frame);
  queue.receive(frame);
});
const sender = new Sender(connection);
const queue = new QueuePanel(connection);
const feed = new Feed(connection, (to) => sender.answerTo(to));

function show(state: State, reason: string): void {
  const badge = byId("state", HTMLElement);
  badge.dataset["state"] = state;
  badge.textContent = reason === "" ? said[state] : `${said[state]} (${reason})`;
  byId("login", HTMLFormElement).hidden = state !== "refused";
  for (const name of ["sending", "queueing", "listening"]) {
    byId(name, HTMLFieldSetElement).disabled = state !== "open";
  }
  if (state === "open") {
    const trouble = (failure: Error) => tell(byId("trouble", HTMLElement), failure.message, true);
    feed.resume().catch(trouble);
    queue.resume().catch(trouble);
  }
}

onSubmit("login", async () => {
  const login: Login = { user: input("user").value, password: input("password").value };
  input("password").value = "";
  connection.open(login);
  return "";
});

byId("hint", HTMLElement).textContent = `curl -d hello ${new URL("v1/publish/greet.you", document.baseURI).href}`;

connection.open();
