// Tokens: the form that asks for one, and the one with which an operator identifies.

import { $, write } from "./view.js";

const STORAGE_KEY = "stream_mer.token";

export class Auth {
  /**
   * @param {object} options
   * @param {(token: string | null) => void} options.offer Connect with this token.
   */
  constructor({ offer }) {
    this.offer = offer;
    this.token = tokenFromAddress();
    this.accepted = undefined; // the last token that the server accepted
    $("auth").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#show($("token").value);
      $("token").value = "";
    });
    $("auth-cancel").addEventListener("click", () => this.#show(this.accepted));
    $("become").addEventListener("submit", (event) => {
      event.preventDefault();
      $("help").close();
      this.#show($("operator-token").value);
      $("operator-token").value = "";
    });
  }

  /** The server requires a token, or another one than was shown. */
  ask(why) {
    storeToken(null);
    $("help").close();
    write($("auth-why"), why && `${why[0].toUpperCase()}${why.slice(1)}.`);
    $("auth-cancel").hidden = this.accepted === undefined;
    $("auth").hidden = false;
    $("token").focus();
  }

  /** The server accepted the token. @param {string} role */
  onAccepted(role) {
    this.accepted = this.token;
    $("auth").hidden = true;
    $("become").hidden = role === "operator";
  }

  #show(token) {
    this.token = token;
    storeToken(token);
    $("auth").hidden = true;
    this.offer(token);
  }
}

/** Take the token out of the address, where a projection would show it; it is stored for a reload. */
function tokenFromAddress() {
  const shown = new URLSearchParams(location.hash.slice(1)).get("token");
  if (shown === null) return storedToken();
  storeToken(shown);
  history.replaceState(null, "", location.pathname + location.search);
  return shown;
}

function storeToken(token) {
  try {
    if (token === null) sessionStorage.removeItem(STORAGE_KEY);
    else sessionStorage.setItem(STORAGE_KEY, token);
  } catch {
    // without storage, the token is asked for again after a reload
  }
}

function storedToken() {
  try {
    return sessionStorage.getItem(STORAGE_KEY);
  } catch {
    return null;
  }
}
