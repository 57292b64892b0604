// Tokens: where one is wanted, and where an operator shows theirs.

import { $, write } from "./view.js";

const KEPT_AS = "stream_mer.token";

export class Door {
  /**
   * @param {object} options
   * @param {(token: string | null) => void} options.offer Connect with this token.
   */
  constructor({ offer }) {
    this.offer = offer;
    this.token = take();
    this.proven = undefined; // the last one that was let in
    $("door").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#show($("token").value);
      $("token").value = "";
    });
    $("door-cancel").addEventListener("click", () => this.#show(this.proven));
    $("become").addEventListener("submit", (event) => {
      event.preventDefault();
      $("help").close();
      this.#show($("operator-token").value);
      $("operator-token").value = "";
    });
  }

  /** The server wants a token, or another one than was shown. */
  ask(why) {
    keep(null);
    $("help").close();
    write($("door-why"), why);
    $("door-cancel").hidden = this.proven === undefined;
    $("door").hidden = false;
    $("token").focus();
  }

  /** The server let us in. @param {string} role */
  passed(role) {
    this.proven = this.token;
    $("door").hidden = true;
    $("become").hidden = role === "operator";
  }

  #show(token) {
    this.token = token;
    keep(token);
    $("door").hidden = true;
    this.offer(token);
  }
}

/** The token out of the address, where it must not stay to be read on a projection; a reload finds it again. */
function take() {
  const shown = new URLSearchParams(location.hash.slice(1)).get("token");
  if (shown === null) return kept();
  keep(shown);
  history.replaceState(null, "", location.pathname + location.search);
  return shown;
}

function keep(token) {
  try {
    if (token === null) sessionStorage.removeItem(KEPT_AS);
    else sessionStorage.setItem(KEPT_AS, token);
  } catch {
    // a browser that keeps nothing: after a reload the token is asked for again
  }
}

function kept() {
  try {
    return sessionStorage.getItem(KEPT_AS);
  } catch {
    return null;
  }
}
