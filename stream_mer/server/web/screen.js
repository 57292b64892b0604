// A page that stands on a screen for hours: full size, awake, and without a pointer in the picture.

const IDLE_AFTER_MS = 4000;

export function toggleFullscreen() {
  if (document.fullscreenElement) document.exitFullscreen();
  else document.documentElement.requestFullscreen().catch(() => {}); // refused: nothing to add to the browser's word
}

/** Keep the screen from going dark while the page is looked at. Browsers grant it on this machine and over https. */
export function stayAwake() {
  const ask = () => {
    if (!document.hidden) navigator.wakeLock?.request("screen").catch(() => {}); // such as a battery that is low
  };
  document.addEventListener("visibilitychange", ask); // the lock is lost whenever the page is hidden
  ask();
}

/** Take the pointer away while it rests. */
export function hidePointer() {
  const root = document.documentElement;
  let timer = 0;
  document.addEventListener("pointermove", () => {
    delete root.dataset.idle;
    clearTimeout(timer);
    timer = setTimeout(() => (root.dataset.idle = ""), IDLE_AFTER_MS);
  });
}
