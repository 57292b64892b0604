// The client's own part of mer.d.ts; tools/packages.py puts the messages of mer.v1 before it.

/** What `subscribe` and `unsubscribe` are about. Empty means all streams, and the default events (of `unsubscribe`: all). */
export interface SubscriptionRequest {
  streams?: readonly string[];
  events?: readonly EventKind[];
  /** Maximum rate of `emotion` and `levels` of each stream, per second; null for all of them. */
  max_hz?: number | null;
}

export type EventKind = "emotion" | "lyrics" | "change" | "status" | "levels";

/** The connection was made, or lost. */
export interface Link {
  up: boolean;
  /** Why it was lost, where the server or the socket said so. */
  why: string;
  /** True if the client does not reconnect, because it would be refused again. */
  final: boolean;
}

/** A token is required; answer with `offer`. */
export interface TokenRequired {
  why: string;
}

/** What listeners get, by kind. */
export interface Events {
  hello: Hello;
  ready: Ready;
  emotion: Emotion;
  lyrics: Lyrics;
  change: Change;
  status: Status;
  levels: Levels;
  result: Result;
  ping: Ping;
  pong: Pong;
  error: Error;
  "setup.update": SetupUpdate;
  link: Link;
  token: TokenRequired;
}

/** What goes with an action of `control`. */
export interface ControlRequest {
  /** Names of streams; none for all. */
  streams?: readonly string[];
  /** The values, for the action `override` alone. */
  override?: OverridePart;
}

/** What goes with an action of `setup`. */
export type SetupRequest = Partial<Omit<Setup, "type" | "id" | "action">>;

export interface Options {
  /** The server's token. */
  token?: string | null;
  /** What to get; the default events of all streams by default. */
  subscribe?: readonly SubscriptionRequest[] | null;
  /** Name of this client in the server's log. */
  name?: string;
  /** Get the messages missed during a break: all (the default), none, or these kinds. */
  resume?: boolean | readonly EventKind[];
  /** At the start, also get the messages that the server keeps, of the kinds of `resume`. */
  history?: boolean;
  /** The class to connect with, such as that of `ws`; by default the global one. */
  WebSocket?: new (url: string, protocol: string) => object;
}

export interface Client {
  /**
   * Call a function with every message of a kind, and its age in seconds, which is not 0 for messages of the snapshot.
   * Returns a function that removes the listener.
   */
  on<K extends keyof Events>(kind: K, listener: (message: Events[K], age_s: number) => void): () => void;
  /** Get more, or the same at another rate. */
  subscribe(subscription?: SubscriptionRequest): Promise<Result>;
  /** Get less. */
  unsubscribe(subscription?: Omit<SubscriptionRequest, "max_hz">): Promise<Result>;
  /** Override the values, or resume; for operators. Not ok, with the code 0, without a connection. */
  control(action: Control["action"], more?: ControlRequest): Promise<Result>;
  /** Read or change the set-up of the server; for operators. Not ok, with the code 0, without a connection. */
  setup(action: Setup["action"], more?: SetupRequest): Promise<Result>;
  /**
   * Send audio to a stream of `hello.remote_streams`; for operators. First what it is, then blocks of 20 to 100 ms in real
   * time, null at the end. False where it was not sent: without a connection, or over one that is too slow. Begin anew
   * after each `ready`; a refusal comes as `error`.
   */
  audio(what: Omit<AudioStart, "type"> | ArrayBuffer | ArrayBufferView | null): boolean;
  /** Connect with this token from now on. */
  offer(token: string): void;
  /** Close the connection for good. */
  close(): void;
}

/**
 * Connect and stay connected; returns immediately.
 *
 * @param url Address of the server, as `ws://127.0.0.1:8765` or `stage-pc`. By default, where the file came from, or
 *   this machine.
 */
export function connect(url?: string, options?: Options): Client;
