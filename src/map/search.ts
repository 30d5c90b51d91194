/** The search field: ids that are in view are offered; any other is asked for over REST. */
import { element, setText } from "./page.ts";
import * as rest from "./rest.ts";
import type { Ping } from "./ping.ts";

const OFFERED = 12;

export function watchSearch(known: () => Iterable<string>, onFound: (ping: Ping) => void): void {
  const input = element<HTMLInputElement>("search-id");
  const say = (text: string): void => setText("search-answer", text);

  element("search").addEventListener("submit", (event) => {
    event.preventDefault();
    const id = input.value.trim();
    if (id === "") return;
    rest.driver(id).then(
      (ping) => {
        if (ping === null) return say(`No driver “${id}” was ever seen`);
        say("");
        input.blur();
        onFound(ping);
      },
      (error: Error) => say(error.message),
    );
  });
  input.addEventListener("input", () => {
    say("");
    offer(known(), input.value.trim().toLowerCase());
  });
  addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.target instanceof HTMLInputElement) return;
    event.preventDefault();
    input.focus();
    input.select();
  });
}

function offer(known: Iterable<string>, typed: string): void {
  const options: HTMLOptionElement[] = [];
  if (typed !== "") {
    for (const id of known) {
      if (!id.toLowerCase().includes(typed)) continue;
      const option = document.createElement("option");
      option.value = id;
      options.push(option);
      if (options.length === OFFERED) break;
    }
  }
  element("known").replaceChildren(...options);
}
