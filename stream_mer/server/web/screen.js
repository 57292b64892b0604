// For pages that are shown for hours: fullscreen, wake lock, and a hidden pointer.

const IDLE_AFTER_MS = 4000;

export function toggleFullscreen() {
  if (document.fullscreenElement) document.exitFullscreen();
  else document.documentElement.requestFullscreen().catch(() => {}); // refused by the browser
}

/** Keep the screen on while the page is visible. Browsers allow it on this machine and over https. */
export function stayAwake() {
  const ask = () => {
    if (!document.hidden) navigator.wakeLock?.request("screen").catch(() => {}); // refused, for example on low battery
  };
  document.addEventListener("visibilitychange", ask); // a hidden page loses the lock
  ask();
}

/** Hide the pointer while it rests. */
export function hidePointer() {
  const root = document.documentElement;
  let timer = 0;
  document.addEventListener("pointermove", () => {
    delete root.dataset.idle;
    clearTimeout(timer);
    timer = setTimeout(() => (root.dataset.idle = ""), IDLE_AFTER_MS);
  });
}
