// Video progress of the page's own <video> elements: `video_start`, `video_progress` at 25, 50 and
// 75 percent, `video_complete`, each once a source.
(function (window, document) {
  "use strict";
  const seen = new WeakMap();
  const on = (event) => {
    const video = event.target;
    if (!(video instanceof HTMLVideoElement) || !video.duration) return;
    let state = seen.get(video);
    if (!state || state.source !== video.currentSrc) {
      seen.set(video, (state = { source: video.currentSrc, reached: -1, start: performance.now() }));
    }
    const percent = event.type === "ended" ? 100 : (video.currentTime / video.duration) * 100;
    for (const step of [0, 25, 50, 75, 100]) {
      if (percent < step || state.reached >= step || (step === 100 && event.type !== "ended")) continue;
      state.reached = step;
      window.relay(step ? (step === 100 ? "video_complete" : "video_progress") : "video_start", {
        video_percent: step,
        video_url: state.source,
        video_title: video.title || undefined,
        video_duration: Math.round(video.duration) || undefined,
        elapsed_ms: Math.round(performance.now() - state.start),
      });
    }
  };
  // These do not bubble; on their way down they can be heard.
  for (const kind of ["playing", "timeupdate", "ended"]) document.addEventListener(kind, on, true);
})(window, document);
