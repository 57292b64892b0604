// The audio thread of microphone.js: mixes the channels, and hands over blocks of 16-bit samples.

const BLOCK = 2048; // frames: 43 ms at 48 kHz

class Blocks extends AudioWorkletProcessor {
  constructor() {
    super();
    this.samples = new Int16Array(BLOCK);
    this.filled = 0;
    this.peak = 0;
  }

  process([channels]) {
    for (let i = 0; i < (channels[0]?.length ?? 0); i++) {
      let sum = 0;
      for (const channel of channels) sum += channel[i];
      const sample = Math.max(-1, Math.min(1, sum / channels.length));
      this.peak = Math.max(this.peak, Math.abs(sample));
      this.samples[this.filled++] = Math.max(-32768, Math.min(32767, Math.round(sample * 32768)));
      if (this.filled === BLOCK) this.#handOver();
    }
    return true;
  }

  #handOver() {
    const { samples, peak } = this;
    this.port.postMessage({ samples: samples.buffer, peak }, [samples.buffer]);
    this.samples = new Int16Array(BLOCK);
    this.filled = this.peak = 0;
  }
}

registerProcessor("blocks", Blocks);
