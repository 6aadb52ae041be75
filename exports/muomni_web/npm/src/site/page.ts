/** The page: starts the worker, shows what the model can do, and wires the three panels to it. */
import { ChatPanel } from "./chat_panel.js";
import { by, failure, showNotice } from "./elements.js";
import { ModelWorker } from "./model_worker.js";
import { SpeakPanel, TranscribePanel } from "./speech_panels.js";
import { Player } from "./sound.js";

const TABS = ["chat", "speak", "transcribe"] as const;
type Tab = (typeof TABS)[number];

async function start(): Promise<void> {
  themes();
  const worker = new ModelWorker();
  const progress = by<HTMLProgressElement>("progress");
  try {
    const { name, capabilities } = await worker.load((share) => (progress.value = share));
    document.title = name === "run" ? "muomni" : `${name} · muomni`;
    by("name").textContent = name === "run" ? "muomni" : name;
    const player = new Player();
    const chat = new ChatPanel(worker, player, capabilities);
    const speak = new SpeakPanel(worker, player, capabilities);
    const transcribe = new TranscribePanel(worker);
    const can: Record<Tab, boolean> = {
      chat: capabilities.chat,
      speak: capabilities.speak,
      transcribe: capabilities.transcribe,
    };
    by("loading").hidden = true;
    tabs(TABS.filter((tab) => can[tab]));
    drops((file) => {
      const open = TABS.find((tab) => !by(`panel-${tab}`).hidden);
      if (open === "transcribe") void transcribe.take(file);
      else if (open === "chat") void chat.attach(file);
    });
    document.addEventListener("keydown", ({ key }) => {
      if (key === "Escape") [chat, speak].forEach((panel) => panel.stop());
    });
    await offline();
  } catch (error) {
    by("loading").classList.add("failed");
    by("loading-title").textContent = "The model cannot be loaded";
    by("loading-note").textContent = failure(error);
  }
}

function themes(): void {
  const root = document.documentElement;
  const saved = localStorage.getItem("muomni-theme");
  if (saved) root.dataset.theme = saved;
  by("theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    localStorage.setItem("muomni-theme", root.dataset.theme);
  });
}

/** Tabs by the pattern of the ARIA practices: arrows, Home and End move and choose. */
function tabs(shown: readonly Tab[]): void {
  const choose = (chosen: Tab, focus: boolean) => {
    for (const tab of TABS) {
      const button = by(`tab-${tab}`);
      button.setAttribute("aria-selected", String(tab === chosen));
      button.tabIndex = tab === chosen ? 0 : -1;
      by(`panel-${tab}`).hidden = tab !== chosen;
    }
    showNotice("");
    if (focus) by(`tab-${chosen}`).focus();
  };
  for (const tab of TABS) {
    const button = by(`tab-${tab}`);
    button.hidden = !shown.includes(tab);
    button.addEventListener("click", () => choose(tab, false));
    button.addEventListener("keydown", (event) => {
      const at = shown.indexOf(tab);
      const places: Record<string, number> = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: shown.length - 1 };
      const place = places[event.key];
      if (place === undefined) return;
      event.preventDefault();
      choose(shown[(place + shown.length) % shown.length]!, true);
    });
  }
  by("tabs").hidden = shown.length < 2;
  if (shown[0] !== undefined) choose(shown[0], false);
}

function drops(take: (file: File) => void): void {
  let depth = 0;
  const mark = (change: number) => {
    depth = Math.max(0, depth + change);
    document.body.classList.toggle("dropping", depth > 0);
  };
  document.addEventListener("dragenter", () => mark(1));
  document.addEventListener("dragleave", () => mark(-1));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    mark(-depth);
    const file = event.dataTransfer?.files[0];
    if (file) take(file);
  });
  document.addEventListener("paste", (event) => {
    const file = event.clipboardData?.files[0];
    if (file) take(file);
  });
}

/** Keep the site for use without a network, and say once it is kept. */
async function offline(): Promise<void> {
  if (!("serviceWorker" in navigator)) return;
  navigator.serviceWorker.addEventListener("message", ({ data }) => {
    if (data === "kept") by("offline").textContent = "Ready to use offline. Small models make things up.";
  });
  try {
    await navigator.serviceWorker.register("sw.js");
    (await navigator.serviceWorker.ready).active?.postMessage("keep");
  } catch {
    // a page that was opened from another machine by plain HTTP has none; it works while there is a network
  }
}

void start();
